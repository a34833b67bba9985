export async function pipeline() {
  null.length;
}
