// What work costs in processor time. The clock on the wall also counts what other programs take; this
// does not, so a bound on it holds on a busy machine too.

/** User and system time of this process, its helper threads included, in milliseconds. */
export async function cpuMs(work: () => unknown): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
