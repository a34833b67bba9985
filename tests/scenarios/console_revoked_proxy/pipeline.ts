export const pipeline = async () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  console.log(proxy);
  console.log("%s %o", proxy, proxy);
  assert.equal({ a: proxy }, { a: 1 });
};
