// Several commands in one container, one of which stays in the background for the others.
//
//     ci run examples/sandbox.ts

const sh = (script: string): Command => ({ path: "sh", args: ["-c", script] });

/** Answers each word that somebody writes to `request`. */
const SERVER = `
  mkfifo request reply
  while read -r word <request; do echo "$word, World!" >reply; done >server.log 2>&1 &
`;

export const pipeline: Pipeline = async () => {
  // Everything in the sandbox ends with this block, whatever happens in it.
  await using sandbox = await runtime.startSandbox({ name: "sandbox", image: "busybox" });

  await sandbox.exec({ name: "start", command: sh(SERVER) });
  const hello = await sandbox.exec({ name: "ask", command: sh("echo Hello >request; cat reply") });
  assert.equal(hello.stdout, "Hello, World!\n");

  // Commands share the working directory too, and each one has a result of its own.
  const { code } = await sandbox.exec({ name: "log", command: ["cat", "server.log"] });
  assert.equal(code, 0);
};
