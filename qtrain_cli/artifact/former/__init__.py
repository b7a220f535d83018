"""Files of earlier formats, which stay readable: each turned into the parts and words of the present one.

    model_4      qtrain/4, compressed models and students    FORMAT-4.md
    model_3      qtrain/3, compressed models                 FORMAT-3.md
    student_1    qtrain.student/1, students                  FORMAT-student-1.md

From there on they are read by the same code as any other file, with the same checks. Nothing writes them.
"""
