"""Groups V8's source files into clusters: files that #include several others, so that shared headers are read once.

gni/cluster_build.gni calls this, first for the clusters' names, then for their contents. The v8 crate leaves out V8's
own script of that name.
"""

import argparse
import pathlib
import re

# Files that do not compile together with their neighbours: they open a namespace for the whole file, or specialise a
# template that a neighbour has instantiated.
ALONE = re.compile(
    r"""-tsa\.cc$|/(
    ast/prettyprinter|
    builtins/setup-builtins-internal|
    codegen/code-stub-assembler|
    compiler/backend/instruction-selector|
    compiler/backend/x64/instruction-selector-x64|
    handles/global-handles|
    interpreter/interpreter-generator|
    regexp/experimental/experimental-compiler
    )\.cc$""",
    re.VERBOSE,
)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compute-filenames", action="store_true")
    parser.add_argument("--generate", action="store_true")
    parser.add_argument("--output-dir", type=pathlib.Path)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--cluster-size", type=int, required=True)
    parser.add_argument("--small-cluster-size", type=int, required=True)
    parser.add_argument("--small-cluster-dirs", action="append", default=[])
    parser.add_argument("--include-prefix", default="")
    parser.add_argument("--strip-prefix", default="")
    parser.add_argument("sources", nargs="*")
    return parser.parse_args()


def clusters(args):
    """Maps each cluster's name to its sources. Both calls see the same sources and so give the same names."""

    def is_small(source):
        return any(f"/{folder}/" in source for folder in args.small_cluster_dirs)

    large = [source for source in args.sources if not is_small(source)]
    small = [source for source in args.sources if is_small(source)]
    neighbours = chunks(large, args.cluster_size) + chunks(small, args.small_cluster_size)
    together = [[source for source in group if not ALONE.search(source)] for group in neighbours]
    alone = [[source] for source in args.sources if ALONE.search(source)]
    return {f"{args.prefix}-{number}.cc": group for number, group in enumerate(together + alone)}


def chunks(sources, size):
    return [sources[start : start + size] for start in range(0, len(sources), size)]


def include(source, args):
    return f'#include "{args.include_prefix}{source.removeprefix(args.strip_prefix)}"\n'


args = parse()
for name, sources in clusters(args).items():
    if args.compute_filenames:
        print(name)
    if args.generate:
        file = args.output_dir / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(include(source, args) for source in sources))
