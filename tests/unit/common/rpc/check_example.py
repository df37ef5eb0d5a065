"""Runs the example of docs/protocol.md against a Solo started for it: check_example.py DOCUMENT SOLOD SOLOCTL"""
import io, os, re, signal, subprocess, sys, tempfile

document, solod, soloctl = sys.argv[1:]
example = re.search(r"```python\n(.*?)```", open(document).read(), re.S).group(1)
scope = {}
exec(example.split("connection = ")[0], scope)
for cut in (b"", b"\x94\x01", b"\xdb\x00\x00\x00\x05ab"):  # a connection that ends
    try:
        raise AssertionError(scope["unpack"](io.BytesIO(cut)))
    except EOFError:
        pass
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
        assert output.endswith(f"{number} app.greeted {{'whom': 'world'}}\n"), output
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
