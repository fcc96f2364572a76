// Starts a crowd and reads what it says at its end.

export interface Flooded {
  readonly statuses: Readonly<Record<string, number>>
  readonly seconds: number
  readonly perSecond: number
}

export interface Flood {
  readonly port: number
  readonly kind: 'kids' | 'health' | 'addresses'
  /** 0: as fast as it is answered. */
  readonly perSecond: number
  readonly count: number
  readonly lanes: number
  readonly more?: string
}

export async function flood({
  port,
  kind,
  perSecond,
  count,
  lanes,
  more,
}: Flood): Promise<Flooded> {
  const args = [port, kind, perSecond, count, lanes, more ?? ''].map(String)
  return JSON.parse(await printed(`${import.meta.dir}/flood.ts`, args))
}

/** What a script of ours prints on its one line; killed when it takes minutes. */
export async function printed(script: string, args: readonly string[]): Promise<string> {
  const child = Bun.spawn([process.execPath, script, ...args], {
    stdout: 'pipe',
    stderr: 'inherit',
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 240_000)
  const text = await new Response(child.stdout).text()
  const exitCode = await child.exited
  clearTimeout(timer)
  if (exitCode !== 0) throw new Error(`${script.split('/').at(-1)} exited ${exitCode}`)
  return text.trim()
}
