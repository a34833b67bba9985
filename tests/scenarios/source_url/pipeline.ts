// Code can name any file as its source; messages quote files of the project only.
export const pipeline = async () => {
  (0, eval)("throw new Error('evaluated')\n//# sourceURL=file:///etc/passwd");
};
