"""Values that readers stumble over: numbers at the ends of types, texts, names, opcodes, kinds of chunks."""

import math

NUMBERS = (
    0, 1, -1, 2, 3, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64,
    -(2**31), -(2**63), 10**6, 10**9, 10**12, 10**30,
    0.0, -0.0, 0.5, 1e-320, 1e308, math.nan, math.inf, -math.inf,
)  # fmt: skip
TEXTS = (
    "", "x", "a" * 600, "\0", "\x1b[2J", "\n::error::x", "../../etc/passwd", "/etc/passwd", "é", "\ud800",
    "__class__", "x.y.z", "1", "nan", "train", "weight", "F32", "F8_E4M3", "BOOL", "U64",
)  # fmt: skip
#: What a pickle may name, and what it may not.
GLOBALS = tuple(
    name.strip()
    for name in [
        "\ntorch._utils _rebuild_tensor_v2",
        " torch._utils _rebuild_parameter",
        " torch._utils _rebuild_sparse_tensor",
        "\ntorch._utils _rebuild_qtensor",
        " torch._utils _rebuild_meta_tensor_no_storage",
        " torch FloatStorage",
        " torch Size",
        "\ntorch._utils _rebuild_wrapper_subclass",
        " torch._utils _rebuild_device_tensor_from_numpy",
        " torch device",
        "\ntorch._tensor _rebuild_from_type_v2",
        " torch float32",
        " torch dtype",
        " torch sparse_coo",
        " collections OrderedDict",
        "\ntorch.storage UntypedStorage",
        " collections Counter",
        " builtins bytearray",
        " builtins set",
        " builtins complex",
        "\n_codecs encode",
        " numpy dtype",
        " numpy.core.multiarray _reconstruct",
        " os system",
        " torch.nn.modules.linear Linear",
        "\ntorch.nn.modules.activation MultiheadAttention",
        " torch.nn.modules.rnn LSTM",
        " torch.nn.modules.rnn GRU",
        "\ntorch.nn.modules.container Sequential",
        " torch.nn.modules.conv Conv2d",
        " torch.nn.modules.batchnorm BatchNorm1d",
        "\ntorch.nn.modules.sparse Embedding",
        " torch.nn.modules.pooling MaxPool2d",
        " torch.nn.modules.normalization LayerNorm",
        "\ntorch.nn.modules.transformer TransformerEncoderLayer",
        " torch.nn.modules.flatten Unflatten",
        "\ntorch.nn.modules.padding ConstantPad1d",
        " torch.nn.modules.upsampling Upsample\n",
    ]
)
#: Opcodes with their arguments: of one byte, of numbers, of texts, of names.
PICKLED = (
    *(bytes([code]) for code in b"()}]012NtaesubRQo\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"),
    b"K\x00", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"\x8a\x00",
    b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"G\x7f\xf0" + bytes(6), b"G\x7f\xf8" + bytes(6),
    b"q\x00", b"q\x05", b"h\x00", b"h\x01", b"h\x05", b"X" + bytes(4), b"X\x06\0\0\0weight",
    b"X\x05\0\0\0items", b"X\x05\0\0\0shape", b"C\x02ab", b"\x8c\x01a",
    *(f"c{name}\n".replace(" ", "\n").encode() for name in GLOBALS),
)  # fmt: skip
WORDS = (
    *b""", " ' = [ ] { } # ; 0 -1 1e999 nan inf 0x 1_0 split target label y train test true [[ ]] . ''' \\
    \\u0000 1979-05-27T07:32:00Z mean data force [report] [compress] [export] trust_pickle arch evil.py:x
    ../ hf:a _ - """.split(),
    b'"""', b"\n", b"\r", b"\t", b" ", b"9" * 40, b"\xef\xbb\xbf", b"\xff", b"\0",
)  # fmt: skip
#: Operators of graphs, of which some reach past their tensors.
OPERATORS = tuple(
    f"torch.ops.aten.{name}"
    for name in [
        "_reshape_alias.default",
        "as_strided.default",
        "as_strided_.default",
        "set_.source_Tensor",
        "resize_.default",
        "linear.default",
        "relu.default",
        "relu_.default",
        "select.int",
        "index.Tensor",
        "embedding.default",
        "gather.default",
        "take.default",
        "view.default",
        "unsafe_view.default",
        "narrow.default",
        "from_file.default",
        "empty.memory_format",
        "new_empty.default",
        "full.default",
        "repeat.default",
        "repeat_interleave.self_int",
        "expand.default",
        "addmm.default",
        "mm.default",
        "fill_.Scalar",
        "index_put_.default",
        "scatter_.src",
        "arange.default",
        "bincount.default",
        "conv1d.default",
        "pad.default",
        "unfold.default",
        "max_pool1d.default",
        "native_layer_norm.default",
        "batch_norm.default",
        "_native_batch_norm_legit.default",
        "sym_size.int",
    ]
)
CHUNKS = (b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"acTL", b"fcTL")
