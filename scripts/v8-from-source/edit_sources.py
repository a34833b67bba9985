"""Fits the build files of the v8 crate to Debian's gn and clang, which are older than Chromium's.

Usage: edit_sources.py SOURCE
"""

import pathlib
import sys

# File, old text, new text.
EDITS = [
    # gn: no path_exists(). Of these files, the last is there.
    ("build/toolchain/siso.gni", 'path_exists(rebase_path(".ninja_deps", root_build_dir))', "false"),
    ("build/toolchain/siso.gni", 'path_exists("//build/config/siso/.sisoenv")', "false"),
    ("build/config/c++/modules.gni", "path_exists(path)", "true"),
    # gn: no substitutions for C++ modules, which this build does without.
    ("build/toolchain/gcc_toolchain.gni", r'" -fmodule-name=\"{{cc_module_name}}_Private\""', '""'),
    ("build/toolchain/gcc_toolchain.gni", r' {{module_deps_no_self}} -fmodule-name=\"{{cc_module_name}}\"', ""),
    ("build/toolchain/gcc_toolchain.gni", " {{module_deps}}", ""),
    # gn: no inputs of a tool.
    (
        "build/toolchain/gcc_toolchain.gni",
        """
        inputs =
            [ get_path_info(rebase_path(ar, ".", root_out_dir), "abspath") ]""",
        "",
    ),
    # gn: no c_additional_outputs.
    (
        "build/config/compiler/BUILD.gn",
        """
    c_additional_outputs =
        [ "{{target_out_dir}}/{{label_name}}/{{source_name_part}}.dwo" ]""",
        "",
    ),
    # clang: none of these flags.
    ("build/config/compiler/BUILD.gn", '[ "-fdiagnostics-show-inlining-chain" ]', "[]"),
    ("build/config/compiler/BUILD.gn", '[ "-fno-lifetime-dse" ]', "[]"),
    ("build/config/sanitizers/sanitizers.gni", '"-fsanitize-ignore-for-ubsan-feature=${invoker.sanitizer}",', ""),
]

source = pathlib.Path(sys.argv[1])
for name, old, new in EDITS:
    file = source / name
    text = file.read_text()
    if text.count(old) != 1:
        sys.exit(f"`{name}` has {text.count(old)} times what is to be edited, not once: {old.strip()}")
    file.write_text(text.replace(old, new))
