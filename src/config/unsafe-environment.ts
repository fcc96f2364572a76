// Variables of the runtime that would break this program's promises. They are not our settings; if one is
// set, nothing starts.

import type { ProcessEnvironment } from './given.ts'
import { looksPrivate } from '../hosts.ts'
import type { Mistake } from './kinds.ts'
import type { Values } from './table.ts'

export function unsafeEnvironment(env: ProcessEnvironment, devMode: boolean): Mistake[] {
  const mistakes: Mistake[] = []
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    mistakes.push({
      setting: 'NODE_TLS_REJECT_UNAUTHORIZED',
      message: 'turns certificate checks off',
      hint: 'unset it; a private CA goes into UPSTREAM_CA_FILE',
    })
  }
  for (const [setting, message] of NOT_IN_PRODUCTION) {
    if (devMode || (env[setting] ?? '') === '') continue
    mistakes.push({ setting, message, hint: 'unset it' })
  }
  return mistakes
}

/** A compiled binary obeys them, because it contains the runtime. */
const NOT_IN_PRODUCTION = [
  ['BUN_OPTIONS', 'can load code into this process'],
  ['BUN_INSPECT', 'opens a debugger into this process'],
  ['BUN_INSPECT_CONNECT_TO', 'opens a debugger into this process'],
  ['BUN_INSPECT_PRELOAD', 'can load code into this process'],
  ['BUN_CONFIG_VERBOSE_FETCH', 'writes requests of this process to its output'],
] as const

const PROXY_VARIABLES = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY']

/** Warnings: variables that other programs obey and this one ignores, and keys sent in clear text. */
export function egressWarnings(
  env: ProcessEnvironment,
  {
    upstreamProxy,
    noProxy,
    plainHttpHosts = [],
  }: Pick<Values, 'upstreamProxy' | 'noProxy' | 'plainHttpHosts'>,
): string[] {
  const warnings: string[] = []
  const unused = PROXY_VARIABLES.flatMap((name) => [name, name.toLowerCase()]).filter(
    (name) => (env[name] ?? '') !== '',
  )
  if (!upstreamProxy && unused.length > 0) {
    const what = unused.length === 1 ? 'is set and not used' : 'are set and not used'
    warnings.push(`${unused.join(', ')} ${what}: UPSTREAM_PROXY is the proxy of this gate`)
  }
  if (upstreamProxy && noProxy === undefined && (env['no_proxy'] ?? '') !== '') {
    warnings.push('no_proxy is set and not used: NO_PROXY is what this gate reads')
  }
  for (const host of plainHttpHosts) {
    if (looksPrivate(host)) continue
    warnings.push(
      `PLAIN_HTTP_HOSTS names ${host}, which looks public: what is asked there is in clear`,
    )
  }
  return warnings
}
