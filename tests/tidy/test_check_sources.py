#!/usr/bin/env python3
"""Shows that each rule of check_sources.py can fail, and that what is right passes."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from check_sources import Checker  # noqa: E402

RIGHT = {
    "common/base/README.md": "What every program needs.\n",
    "common/base/status.h": "#define TRY(call) do { if ((call) != 0) return 1; } while (0)\n",
    "common/wire/README.md": "Bytes.\n",
    "common/wire/reader.h": '#include "common/base/status.h"\n',
    "common/db/README.md": "Stores.\n",
    "common/db/db.h": '#include "common/base/status.h"\n',
    "common/rpc/README.md": "Calls.\n",
    "common/rpc/server.h": '#include "common/wire/reader.h"\n',
    "common/daemon/README.md": "Daemons.\n",
    "common/daemon/settings.h": '#include "common/base/status.h"\n',
    "common/access/README.md": "Who may.\n",
    "common/access/access.h": '#include "common/daemon/settings.h"\n#include "common/rpc/server.h"\n',
    "common/api/README.md": "Contracts.\n",
    "common/api/api.h": '#include "common/api/records/records.def"\n',
    "common/api/routes.h": '#include "common/access/access.h"\n'
                           "#define METHOD(name) static int route_##name(void) \\\n    { return 0; }\n",
    "common/api/records/README.md": "Rows.\n",
    "common/api/records/records.def": "RECORD(row)\n",
    "common/api/records/event.h": '#include "common/db/db.h"\n#include "common/api/api.h"\n',
    "eventd/README.md": "Owns the log.\n",
    "eventd/store.h": '#include "common/db/db.h"\n#include "common/api/records/event.h"\n',
    "common/plan/README.md": "Plans.\n",
    "common/plan/finding_codes.def": 'FINDING(missing, PLAN, "is not there", "start it")\n',
    "tests/integration/test_verify.c": 'expect_found("missing");\n',
    "solod/main.c": '#include <stdio.h>\n#include "common/api/api.h"\n',
    "tests/unit/eventd/test_store.c": '#include "eventd/store.h"\n',
}

# What is changed, and a part of the complaint that must follow.
WRONG = {
    "a lower layer uses a higher one": ({"common/base/x.h": '#include "common/wire/reader.h"\n'}, "may not use"),
    "wire uses rpc": ({"common/wire/x.h": '#include "common/rpc/server.h"\n'}, "common/wire may not use common/rpc"),
    "db uses wire": ({"common/db/x.h": '#include "common/wire/reader.h"\n'}, "common/db may not use common/wire"),
    "daemon uses rpc": ({"common/daemon/x.h": '#include "common/rpc/server.h"\n'}, "common/daemon may not use"),
    "api uses db": ({"common/api/x.h": '#include "common/db/db.h"\n'}, "common/api may not use common/db"),
    "api uses access elsewhere": ({"common/api/x.h": '#include "common/access/access.h"\n'}, "may not use common/access"),
    "a library nobody placed": ({"common/new/README.md": "?\n", "common/new/x.h": '#include "common/base/status.h"\n'},
                                "common/new may not use"),
    "a library uses a program": ({"common/base/x.h": '#include "eventd/store.h"\n'}, "which is no library"),
    "a program uses a program": ({"solod/x.c": '#include "eventd/store.h"\n'}, "includes a file of eventd"),
    "solod uses a store": ({"solod/x.c": '#include "common/db/db.h"\n'}, "has no store"),
    "tenantd uses rows": ({"tenantd/README.md": "x\n", "tenantd/x.c": '#include "common/api/records/event.h"\n'},
                          "has no store"),
    "a program uses a test": ({"eventd/x.c": '#include "tests/unit/eventd/test_store.c"\n'}, "a program includes"),
    "an include from beside": ({"eventd/x.c": '#include "store.h"\n'}, "repository root"),
    "an include of nothing": ({"eventd/x.c": '#include "eventd/missing.h"\n'}, "repository root"),
    "ours as a system header": ({"eventd/x.c": "#include <common/base/status.h>\n"}, 'with "..."'),
    "a return in a macro": ({"eventd/x.c": "#define CHECK(x) \\\n    if (!(x)) \\\n        return 1\n"}, "macro CHECK"),
    "a finding without a test": ({"common/plan/finding_codes.def": 'FINDING(extra, PLAN, "too many", "end it")\n'},
                                 "no test provokes extra"),
    "a folder of data without README": ({"eventd/README.md": None}, "has no README"),
    "a library without README": ({"common/wire/README.md": None}, "has no README"),
    "headers in a circle": ({"eventd/a.h": '#include "eventd/b.h"\n', "eventd/b.h": '#include "eventd/a.h"\n'},
                            "in a circle: a -> b -> a"),
    "sources in a circle": ({"eventd/a.h": "int a;\n", "eventd/a.c": '#include "eventd/b.h"\n', "eventd/b.h": "int b;\n",
                             "eventd/b.c": '#include "eventd/c.h"\n', "eventd/c.h": '#include "eventd/a.h"\n'},
                            "in a circle: a -> b -> c -> a"),
    "a file without end": ({"eventd/x.c": "\n" * 700}, "one sitting"),
    "a signal to whatever pid": ({"tests/faults/x.c": "    kill(pid, SIGKILL);\n"}, "process_signal"),
    "unfinished code": ({"eventd/x.c": "/* TOD" + "O: later */\n"}, "unfinished"),
    "somebody's home": ({"docs/x.md": "see /hom" + "e/someone/notes\n"}, "somebody's machine"),
    "a number of a tracker": ({"docs/x.md": "as asked in issu" + "e 12\n"}, "no part of the project"),
}


class Rules(unittest.TestCase):
    def broken(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**RIGHT, **changes}.items():
                if text is None:
                    continue
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            return Checker(root).run()

    def test_what_is_right_passes(self):
        self.assertEqual(self.broken({}), [])

    def test_each_rule_can_fail(self):
        for name, (changes, complaint) in WRONG.items():
            with self.subTest(name):
                broken = self.broken(changes)
                self.assertEqual(len(broken), 1, broken)
                self.assertIn(complaint, broken[0])


if __name__ == "__main__":
    unittest.main()
