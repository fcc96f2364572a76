// A gate in development mode whose stdout is whatever a shell makes of a redirection.

import { readFileSync } from 'node:fs'
import { freePort } from '../support/anthropic.ts'
import { binary, passing, until } from '../support/binary.ts'

export interface Redirected {
  readonly url: string
  readonly child: Bun.Subprocess
  /** One request, one line: 401 without a token. */
  ask(): Promise<number>
  askMany(count: number): Promise<void>
  cpuMs(): number
  rssBytes(): number
  /** Resolves with the exit code. */
  end(signal?: NodeJS.Signals): Promise<number>
}

/** `before` is shell, run before the gate takes the place of the shell. */
export async function redirected(
  redirection: string,
  before = ':',
  { onTerminal = false }: { readonly onTerminal?: boolean } = {},
): Promise<Redirected> {
  const port = await freePort()
  const child = Bun.spawn(
    ['bash', '-c', `${before}; exec "$0" --dev-mode ${redirection}`, await binary()],
    {
      env: {
        PATH: process.env['PATH'] ?? '',
        PORT: String(port),
        LOG_FORMAT: 'json',
        PUBLIC_RATE_LIMIT_RPM: '0',
        DRAIN_TIMEOUT_SECONDS: '1',
        ...passing(),
      },
      // One that it is in control of, so that it hears of its end.
      ...(onTerminal
        ? { terminal: { data() {} } }
        : { stdin: 'ignore', stdout: 'ignore', stderr: 'inherit' }),
    },
  )
  const url = `http://127.0.0.1:${port}`
  const stat = (): string[] => {
    const text = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  }
  const ask = async (): Promise<number> => {
    const response = await fetch(`${url}/v1/models`)
    await response.bytes()
    return response.status
  }
  let up = false
  void (async () => {
    while (!up && child.exitCode === null) {
      up = await fetch(`${url}/healthz`).then(
        ({ ok }) => ok,
        () => false,
      )
      await Bun.sleep(10)
    }
  })()
  await until(() => up)
  return {
    url,
    child,
    ask,
    async askMany(count) {
      const one = async (): Promise<void> => {
        for (let each = 0; each < count / 20; each += 1) await ask()
      }
      await Promise.all(Array.from({ length: 20 }, one))
    },
    // proc_pid_stat(5): utime and stime, in ticks of 10 ms.
    cpuMs: () => (Number(stat()[11]) + Number(stat()[12])) * 10,
    rssBytes: () => Number(stat()[21]) * 4096,
    async end(signal = 'SIGTERM') {
      child.kill(signal)
      return child.exited
    },
  }
}
