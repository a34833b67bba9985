interface Options {
  depth: number;
  label?: string;
}

enum Mode {
  Deep,
}

class Walker {
  constructor(private readonly mode: Mode, public options: Options) {}

  walk(depth: number): never {
    if (depth < this.options.depth) return this.walk(depth + 1);
    throw new Error(`at the bottom in mode ${this.mode}`);
  }
}

export const pipeline = async () => {
  new Walker(Mode.Deep, { depth: 2 }).walk(0);
};
