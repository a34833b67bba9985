export const pipeline = async () => {
  throw new Error("first\u001b[2J\nsecond \u001b[2J\u001b]0;owned\u0007 \r* [a] finished");
};
