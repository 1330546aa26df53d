"""Root of the test session; the plugin itself is loaded by its entry point."""

import signal

pytest_plugins = ["pytester"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts a job in the background has it ignore Ctrl-C, and so would every process that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # Under nohup every process that tests start would ignore it too. A handler is not inherited, and this one ends nothing.
    signal.signal(signal.SIGHUP, lambda *_: None)
