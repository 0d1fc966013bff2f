"""A person at a terminal: run a command in one, wait for what it shows, type.

    terminal.py ROWS COLUMNS COMMAND [EXPECTED TYPED]...

Each EXPECTED is waited for behind what was waited for before, then TYPED is
written (with escapes as in Python). Prints "code STATUS", then all that was
shown, control characters as cat -v does.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

ROWS, COLUMNS = (int(a) for a in sys.argv[1:3])
COMMAND, STEPS = sys.argv[3], sys.argv[4:]
LIMIT = 60  # seconds for everything


def visible(data):
    return "".join(
        chr(b) if b == 10 or 32 <= b < 127 else
        "^" + chr(b ^ 64) if b < 128 else "\\x%02x" % b for b in data)


def main():
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", "exec " + COMMAND])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    end, shown, at, steps = time.monotonic() + LIMIT, b"", 0, STEPS
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:  # nobody has the terminal open any more
            break
        shown += data
        while steps and (found := shown.find(steps[0].encode(), at)) >= 0:
            at = found + len(steps[0])
            os.write(fd, steps[1].encode().decode("unicode_escape").encode())
            steps = steps[2:]
    else:
        os.system("ps -o pid,stat,wchan:20,args -s %d" % pid)
        os.killpg(pid, 9)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("code %d\n%s" % (status, visible(shown)), end="")


main()
