// What arguments and environment are read as, and the least environment that is enough.

import { HASH_KEY } from '../support/settings.ts'
import { inspect } from 'node:util'
import { readInvocation } from '../../src/config/command-line.ts'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import type { Mistake } from '../../src/config/kinds.ts'
import type { Settings } from '../../src/config/read.ts'
import type { UpstreamEntryOf } from '../../src/config/upstreams.ts'
import type { UpstreamKind } from '../../src/names.ts'

export const PRODUCTION = {
  JWKS_URL: 'https://id.example/jwks.json',
  ISSUER: 'https://id.example',
  AUDIENCES: 'gate, other',
  TINFOIL_API_KEY: 'tk-canary-0',
  IDENTITY_HASH_KEY: HASH_KEY,
}

export function run(args: readonly string[], env: ProcessEnvironment = PRODUCTION) {
  const invocation = readInvocation(args, env)
  if (invocation.kind !== 'run') throw new Error(inspect(invocation))
  return invocation
}
export const settings = (args: readonly string[], env: ProcessEnvironment = PRODUCTION): Settings =>
  run(args, env).settings
export function mistakes(
  args: readonly string[],
  env: ProcessEnvironment = PRODUCTION,
): readonly Mistake[] {
  const invocation = readInvocation(args, env)
  if (invocation.kind !== 'mistakes') throw new Error(`no mistake: ${inspect(invocation)}`)
  return invocation.mistakes
}
export const wrong = (args: readonly string[], env: ProcessEnvironment = PRODUCTION): string[] =>
  mistakes(args, env).map(({ setting }) => setting)

/** The first upstream of a kind. */
export const upstreamOf = <Kind extends UpstreamKind>({ upstreams }: Settings, kind: Kind) =>
  upstreams.find((each) => each.kind === kind) as UpstreamEntryOf<Kind> | undefined
