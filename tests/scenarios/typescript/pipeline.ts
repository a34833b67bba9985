namespace Numbers {
  export const two = 2;
}

enum Level { Low = 1, High = Low << Numbers.two }

const enum Hidden { A = "a" }

abstract class Base<T> {
  constructor(protected readonly value: T) {}
  abstract show(): string;
}

function logged(method: () => string, context: ClassMethodDecoratorContext) {
  return function (this: Base<number>): string {
    return `${String(context.name)}: ${method.call(this)}`;
  };
}

class Number_ extends Base<number> {
  declare ghost: string;
  accessor count = 1;
  @logged
  show(): string {
    return `${this.value satisfies number} ${this.count as number}`;
  }
}

export const pipeline = async (): Promise<void> => {
  console.log(Level.High, Level[1], Hidden.A);
  console.log(new Number_(7).show());
  const tuple = [1, "two"] as const;
  const value = (tuple as unknown as { 0: number })[0]!;
  console.log(value, <string> tuple[1]);
  using resource = { [Symbol.dispose]: () => console.log("disposed") };
  void resource;
};
