// Between several upstreams: the seal, the policy and the model decide, in that order.

import { expect, test } from 'bun:test'
import {
  isByModel,
  isDecided,
  permittedOf,
  type Served,
  servedModel,
  servedModels,
} from '../../src/dispatch/choose.ts'
import { bodyModel } from '../../src/upstream/reading/body-model.ts'
import type { Upstream } from '../../src/upstream/upstream.ts'

function candidate(name: string, bodies: Upstream['bodies'], models?: string[]): Served {
  return {
    upstream: { name, bodies } as Upstream,
    breaker: {} as never,
    callers: [],
    models,
    asks: false,
  }
}
const names = (found: readonly Served[]): string[] => found.map(({ upstream }) => upstream.name)
const ANY = { policy: { upstreams: undefined } }

const sealed = candidate('sealed', 'sealed')
const plain = candidate('plain', 'plain')
const both = candidate('both', 'both')

test('a sealed body goes to an upstream that opens it, a plain one to one that takes it so', () => {
  const all = [plain, sealed, both]
  const found = (isSealed: boolean, hasBody = true) =>
    names(permittedOf(all, { ...ANY, sealed: isSealed, hasBody }))
  expect(found(true)).toEqual(['sealed', 'both'])
  expect(found(false)).toEqual(['plain', 'both'])
  expect(found(true, false)).toEqual(['plain', 'sealed', 'both'])
})

test('without a fitting upstream, the first one reports the error', () => {
  expect(names(permittedOf([sealed], { ...ANY, sealed: false, hasBody: true }))).toEqual(['sealed'])
  expect(names(permittedOf([plain], { ...ANY, sealed: true, hasBody: true }))).toEqual(['plain'])
})

test('a sealed body reaches no upstream that the model decides about', () => {
  const listed = candidate('listed', 'both', ['a*'])
  const ask = { ...ANY, sealed: true, hasBody: true }
  expect(names(permittedOf([listed, both], ask))).toEqual(['both'])
  expect(permittedOf([listed], ask)).toEqual([])
})

test('a policy takes upstreams away, and an empty list all of them', () => {
  const of = (upstreams: readonly string[]) =>
    names(permittedOf([plain, both], { sealed: false, hasBody: true, policy: { upstreams } }))
  expect(of(['both', 'other'])).toEqual(['both'])
  expect(of([])).toEqual([])
})

test('a model decides wherever an upstream names models, and with one way to go too', () => {
  const listed = candidate('listed', 'plain', ['a*'])
  expect([isByModel([listed]), isDecided([listed])]).toEqual([true, false])
  expect([isByModel([plain]), isDecided([plain])]).toEqual([false, true])
  expect([isByModel([plain, listed]), isDecided([plain, listed])]).toEqual([true, false])
  const of = (model: string, ...among: Served[]) => {
    const found = servedModel(among, model)
    return found.ok ? found.value.upstream.name : found.code
  }
  expect(of('a-1', listed, plain)).toBe('listed')
  expect(of('b-1', listed, plain)).toBe('plain')
  expect(of('b-1', listed)).toBe('not_found')
  expect(of('a-1', candidate('none', 'plain', []))).toBe('not_found')
})

test('several upstreams together serve the models of each, or every model if one serves every model', () => {
  const [a, b] = [candidate('a', 'plain', ['a*']), candidate('b', 'plain', ['b-1', 'a-1'])]
  expect(servedModels([a, b])).toEqual(['a*', 'b-1', 'a-1'])
  expect(servedModels([a, plain])).toBeUndefined()
})

test.each([
  ['{"model":"m"}', 'm'],
  ['{"messages":[{"model":"x"}],"model":"m"}', 'm'],
  ['{"model":"m","model":"n"}', 'ambiguous_body'],
  ['{"model":"m","Model":"n"}', 'ambiguous_body'],
  ['{"model":"m","mo\\u0064el":"n"}', 'ambiguous_body'],
  ['{"model":1}', 'invalid_model'],
  ['{"model":"a b"}', 'invalid_model'],
  ['{}', 'invalid_model'],
  ['[]', 'ambiguous_body'],
  ['', 'ambiguous_body'],
  ['\u{FEFF}{"model":"m"}', 'ambiguous_body'],
])('the model of %p is %p', (text, expected) => {
  const found = bodyModel(new TextEncoder().encode(text))
  expect(found.ok ? found.value : found.code).toBe(expected)
})
