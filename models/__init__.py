"""Models: what is trained, kept, opened and measured. No Redis in here, and no dashboard.

    datasets    the real data that ships with scikit-learn, split once and for all
    training    baselines fitted at once; candidates fitted epoch by epoch
    vault       estimator <-> bytes, with an allow-list of types
    graph       an ONNX file as an estimator
    vetting     opens bytes in a confined child process first (`quarantine` is that child)
    card        what is known of a model and of a version
    registry    a folder of versions, and which of them is in service
    model       an opened version: checks rows, scores matrices (`linear` is its exact shortcut)
    evaluation  measures of quality from counts and sums that can be merged

Importing this package, `card`, `registry` or `evaluation` loads neither numpy nor scikit-learn.
"""
