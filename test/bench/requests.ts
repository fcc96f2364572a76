// Requests at saturation: 1 KB and 76 KB (a Claude Code turn), with tokens that the gate has seen
// before and with tokens that nobody has.

import { join } from 'node:path'
import { requestUpstream } from './nginx.ts'
import type { Bench, Figures, Part } from './part.ts'
import type { Setting, Subject } from './subject.ts'
import { type Loaded, wrk } from './wrk.ts'

const CONNECTIONS = 32
/** What a compiler at run time needs until it has made all it will make, or as long as it may take. */
export const WARM_REQUESTS = 40_000
const WARM_AT_MOST_SECONDS = 8
const WARM_STEP_SECONDS = 2
/** More than a gate that verifies can use up; a run that needs more of them is thrown away. */
const FRESH_A_SECOND = 25_000

interface Work {
  readonly bodyBytes: number
  readonly known: boolean
}

export const REQUESTS: readonly Part[] = [
  part('known-1k', '1 KB POST, 200 known tokens', { bodyBytes: 1000, known: true }),
  part('known-76k', '76 KB POST, 200 known tokens', { bodyBytes: 76_000, known: true }),
  part('new-1k', '1 KB POST, each token new', { bodyBytes: 1000, known: false }),
  part('new-76k', '76 KB POST, each token new', { bodyBytes: 76_000, known: false }),
]

function part(name: string, about: string, work: Work): Part {
  const all = ['postern', 'nginx', 'haproxy', 'direct'] as const
  return {
    name,
    about,
    // Portkey knows nothing of tokens: that they are new is nothing to it.
    subjects: work.known ? [...all, 'portkey'] : all,
    measure: (subject, bench) => measure(work, subject, bench),
  }
}

let fresh: Promise<string> | undefined

async function measure(
  { bodyBytes, known }: Work,
  subject: Subject,
  bench: Bench,
): Promise<Figures> {
  const { credentials, seconds, descriptors } = bench
  const folder = bench.folder()
  const bodyFile = join(folder, 'body.json')
  await Bun.write(bodyFile, bodyOf(bodyBytes))
  if (!known)
    fresh ??= credentials.fresh(WARM_REQUESTS + (WARM_STEP_SECONDS + seconds) * FRESH_A_SECOND)
  const tokensFile = (await (known ? undefined : fresh)) ?? credentials.knownFile

  const upstream = await requestUpstream(bench.folder(), descriptors)
  const setting: Setting = { folder, upstreamPort: upstream.port, credentials, descriptors }
  const gate = await subject.start(setting)
  let skip = 0
  const run = async (runSeconds: number): Promise<Loaded> => {
    const loaded = await wrk({
      port: gate.port,
      path: '/v1/chat/completions',
      bodyFile,
      tokensFile,
      repeat: known,
      skip,
      connections: CONNECTIONS,
      seconds: runSeconds,
      headers: subject.headers(setting),
      folder,
      gatePid: gate.pid,
      upstreamPid: upstream.pid,
    })
    // wrk makes some requests that are under way, and one to try, when it ends.
    if (!known) skip += loaded.requests + CONNECTIONS + 2
    return loaded
  }
  try {
    let warm = 0
    let warmSeconds = 0
    while (warm < WARM_REQUESTS && warmSeconds < WARM_AT_MOST_SECONDS) {
      warm += (await run(WARM_STEP_SECONDS)).requests
      warmSeconds += WARM_STEP_SECONDS
    }
    const loaded = await run(seconds)
    if (loaded.refused + loaded.broken > 0) {
      throw new Error(`${subject.name}: ${loaded.refused} refused, ${loaded.broken} broken`)
    }
    const verifies = subject.name === 'postern' || subject.name === 'haproxy'
    if (!known && verifies && loaded.wraps > 0) throw new Error(`${subject.name}: no tokens left`)
    await gate.end()
    const metered = subject.metered?.(setting)
    if (metered !== undefined && metered < warm + loaded.requests) {
      throw new Error(`the usage of ${metered} requests is known, of ${warm + loaded.requests}`)
    }
    return { ...figuresOf(loaded), warmRequests: warm }
  } finally {
    await gate.end()
    await upstream.end()
  }
}

function figuresOf(loaded: Loaded): Figures {
  const { requests, durationUs, p50Us, p99Us } = loaded
  return {
    cpuUs: loaded.gateCpuUs,
    perSecond: requests / (durationUs / 1e6),
    p50Us,
    p99Us,
    requests,
    gateCores: loaded.gateCores,
    upstreamCores: loaded.upstreamCores,
    loaderCores: loaded.loaderCores,
    othersCores: loaded.othersCores,
  }
}

function bodyOf(bytes: number): string {
  const start = '{"model":"gpt-oss-120b","messages":[{"role":"user","content":"'
  const end = '"}]}'
  const length = bytes - start.length - end.length
  return start + 'All work and no play. '.repeat(bytes).slice(0, length) + end
}
