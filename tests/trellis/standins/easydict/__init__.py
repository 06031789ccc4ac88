"""Stands in for easydict: a dictionary whose entries are attributes too, all the way down."""


class EasyDict(dict):
    def __init__(self, values=(), **more):
        super().__init__()
        for name, value in dict(values, **more).items():
            setattr(self, name, value)

    def __setattr__(self, name, value):
        value = EasyDict(value) if isinstance(value, dict) and not isinstance(value, EasyDict) else value
        super().__setattr__(name, value)
        super().__setitem__(name, value)

    __setitem__ = __setattr__
