// `postern check`: everything that a start depends on, tried once, with a line for each. It listens
// on nothing and sends no inference.

import { fetchKeys } from '../admit/jwks.ts'
import type { Settings } from '../config/read.ts'
import { logger } from '../log.ts'
import type { Sources } from '../sources.ts'
import { tinfoil } from '../upstream/tinfoil.ts'
import { transport } from '../upstream/transport.ts'

/** True where all is well. */
export async function check(
  from: Sources,
  settings: Settings,
  warnings: readonly string[],
): Promise<boolean> {
  const say = (mark: 'ok' | '!!' | 'no', what: string): void => {
    process.stdout.write(`${mark}  ${what}\n`)
  }
  say('ok', 'settings')
  for (const warning of warnings) say('!!', warning)
  const outcomes = [await checkKeys(from, settings), ...(await checkUpstream(from, settings))]
  for (const { ok, what } of outcomes) say(ok ? 'ok' : 'no', what)
  return outcomes.every(({ ok }) => ok)
}

interface Outcome {
  readonly ok: boolean
  readonly what: string
}

async function checkKeys({ jwksUrl }: Sources, settings: Settings): Promise<Outcome> {
  const silent = logger({ ...settings, logLevel: 'silent' }, false)
  try {
    const keys = await fetchKeys(jwksUrl, silent)
    const usable = keys.length === 1 ? '1 usable key' : `${keys.length} usable keys`
    return { ok: true, what: `key set: ${usable}` }
  } catch (error) {
    return { ok: false, what: `key set: ${error instanceof Error ? error.message : 'unreadable'}` }
  }
}

async function checkUpstream(from: Sources, settings: Settings): Promise<Outcome[]> {
  const upstream = tinfoil(from.tinfoil)
  const wire = transport()
  const timeouts = {
    connectMs: settings.connectTimeoutSeconds * 1000,
    headersMs: settings.headersTimeoutSeconds * 1000,
  }
  const get = async (path: string, headers: Readonly<Record<string, string>>): Promise<Outcome> => {
    const to = await upstream.destination(path, '', undefined, 0)
    if (!to.ok) return { ok: false, what: `upstream ${path}: ${to.code}` }
    const flight = wire.send({ method: 'GET', ...to.value, headers, body: undefined }, timeouts)
    const head = await flight.head
    flight.cancel()
    const said = head.ok ? `status ${head.status}` : head.reason
    return { ok: head.ok && head.status === 200, what: `upstream ${path}: ${said}` }
  }
  const outcomes = [
    await get('/.well-known/hpke-keys', {}),
    await get('/v1/models', upstream.headers),
  ]
  wire.close()
  return outcomes
}
