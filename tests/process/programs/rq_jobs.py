"""The jobs of test_rq."""


def double(number):
    return 2 * number


def fail():
    raise ValueError("on purpose")
