import fs = require("./fs.ts");
export const pipeline = async () => console.log(fs);
