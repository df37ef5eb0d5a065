"""Runs the example of docs/protocol.md against a Solo started for it: check_example.py DOCUMENT SOLOD SOLOCTL"""
import io, os, re, signal, socket, subprocess, sys, tempfile

document, solod, soloctl = sys.argv[1:]
text = open(document).read()
example = re.search(r"```python\n(.*?)```", text, re.S).group(1)
scope = {}
exec(example.split("connection = ")[0], scope)
for cut in (b"", b"\x94\x01", b"\xdb\x00\x00\x00\x05ab"):  # a connection that ends
    try:
        raise AssertionError(scope["unpack"](io.BytesIO(cut)))
    except EOFError:
        pass


def check_status(run):
    """Every key of system.status stands in its table."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.path.join(run, "deployd.sock"))
    connection.sendall(scope["pack"]([0, 1, "system.status", [{}]]))
    _, _, error, reply = scope["unpack"](connection.makefile("rb"))
    assert error is None, error
    status = reply["status"]
    section = text.split("## The map of `system.status`")[1].split("\n## ")[0]
    inner = [key for name in ("log", "recovery") for key in status[name]]
    missing = [key for key in list(status) + inner if f"`{key}`" not in section]
    assert not missing, f"docs/protocol.md does not tell of {missing}"


with tempfile.TemporaryDirectory() as folder:
    run = os.path.join(folder, "run")
    process = subprocess.Popen([solod, "--data", os.path.join(folder, "data"), "--run", run, "--log-level", "warning"])
    try:
        subprocess.run([soloctl, "--run", run, "wait", "--ready", "--timeout", "60s"], check=True)
        environment = dict(os.environ, SOLO_RUN_DIR=run)
        output = subprocess.run([sys.executable, "-c", example], env=environment, check=True, timeout=60,
                                stdout=subprocess.PIPE, text=True).stdout
        print(output, end="")
        number = re.match(r"event (\d+)\n", output).group(1)
        check_status(run)
        assert output.endswith(f"{number} app.greeted {{'whom': 'world'}}\n"), output
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
