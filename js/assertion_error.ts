// The global `AssertionError`.

class Failure extends Error {
  declare readonly name: "AssertionError";
  declare readonly actual: unknown;
  declare readonly expected: unknown;
  declare readonly operator: string;

  constructor(message: string, options: AssertionErrorOptions = {}) {
    super(message);
    const { actual, expected, operator = "fail" } = options;
    // Not enumerable: the message shows them, and whoever inspects the error need not see it twice.
    for (const [key, value] of Object.entries({ actual, expected, operator })) {
      Object.defineProperty(this, key, { value, configurable: true });
    }
  }
}

Object.defineProperty(Failure, "name", { value: "AssertionError" });
Object.defineProperty(Failure.prototype, "name", {
  value: "AssertionError",
  writable: true,
  configurable: true,
});

export const AssertionError: AssertionErrorConstructor = Failure;
