// What development mode and personal mode, which both run on one machine, demand of the other settings.

import { isLoopback } from '../hosts.ts'
import type { Given } from './given.ts'
import type { Mistake } from './kinds.ts'
import { type Key, settingOf, type Values } from './table.ts'
import { isKeyless, type UpstreamRead } from './upstreams.ts'

/** One person on their own machine, with one account. */
export function signInMistakes(
  given: ReadonlyMap<Key, Given>,
  values: Values,
  upstreams: readonly UpstreamRead[],
): Mistake[] {
  const mistakes: Mistake[] = []
  const keys = [given, ...upstreams.map((each) => each.given)]
  const apiKey = keys
    .map((each) => each.get(isKeyless(each) ? 'anthropicKeyHeader' : 'anthropicApiKey'))
    .find((each) => each)
  if (apiKey) {
    mistakes.push({
      setting: apiKey.from,
      message: 'is given together with CLIENT_ID',
      hint: 'one gate has one Anthropic: by a key, or by a sign-in',
    })
  }
  const { clientSecret, clientAuth } = values
  if (clientAuth !== undefined && (clientAuth === 'none') === (clientSecret !== undefined)) {
    mistakes.push({
      setting: given.get('clientAuth')?.from ?? 'CLIENT_AUTH',
      message: clientSecret
        ? 'is none, though CLIENT_SECRET is given'
        : `is ${clientAuth}, though there is no CLIENT_SECRET`,
      hint: 'give the secret and a way to show it, or neither',
    })
  }
  const why = 'a person who signs in here signs in for their own machine alone'
  return [...mistakes, ...notLoopback(given, values, why, 'leave CLIENT_ID out')]
}

/** Development mode brings its own issuer and upstreams, and listens on loopback only. */
export function developmentMistakes(given: ReadonlyMap<Key, Given>, values: Values): Mistake[] {
  const mistakes: Mistake[] = []
  for (const [key, { from }] of given) {
    if (!settingOf(key).notInDev) continue
    mistakes.push({
      setting: from,
      message: 'is set in development mode, which brings its own issuer and upstreams',
      hint: `unset it, or leave development mode`,
    })
  }
  for (const [url, key] of [
    ['tinfoilBaseUrl', 'tinfoilApiKey'],
    ['anthropicBaseUrl', 'anthropicApiKey'],
  ] as const) {
    const upstream = given.get(url)
    if (!upstream || given.has(key) || (key === 'anthropicApiKey' && isKeyless(given))) continue
    mistakes.push({
      setting: upstream.from,
      message: `is set, but without ${settingOf(key).env} an embedded upstream answers instead`,
      hint: 'give the key too, or leave both out',
    })
  }
  const why = 'development mode hands out a token to anyone who asks'
  return [...mistakes, ...notLoopback(given, values, why, 'leave development mode')]
}

function notLoopback(
  given: ReadonlyMap<Key, Given>,
  values: Values,
  why: string,
  instead: string,
): Mistake[] {
  if (isLoopback(String(values.host))) return []
  return [
    {
      setting: given.get('addr')?.from ?? given.get('host')?.from ?? 'HOST',
      message: `is not loopback, and ${why}`,
      hint: `use 127.0.0.1, or ${instead}`,
    },
  ]
}
