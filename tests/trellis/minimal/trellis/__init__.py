"""A program with the parts of TRELLIS that its engine calls, each as small as can be; written for these tests."""
