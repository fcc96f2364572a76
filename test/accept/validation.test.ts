// What is said of a body or a query that is not of its schema: the member and what it must be, in the
// dialect of the route, and never what was sent. Guards come first, whatever the body is.

import { describe, expect, test } from 'bun:test'
import { gate } from '../../src/accept/app.ts'
import { granted } from '../../src/refusal.ts'
import { partsWith } from '../support/routes.ts'

const CANARY = 'canary-5c0ffee'
const OPERATOR = `Bearer ${'a'.repeat(32)}`

const parts = partsWith('anthropic', 'anthropic-oauth')
const app = gate({
  ...parts,
  admin: parts.admin && {
    ...parts.admin,
    bodyTimeoutMs: () => 1000,
    reports: {
      ...parts.admin.reports,
      stats: async (filter) => granted({ filter } as never),
    },
  },
})

async function ask(
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body?: string,
): Promise<{ status: number; text: string; error: Readonly<Record<string, unknown>> }> {
  const response = await app.handle(
    new Request(`http://localhost${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        host: 'localhost',
        ...headers,
        ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
      },
      ...(body !== undefined && { body }),
    }),
  )
  const text = await response.text()
  const parsed = text.startsWith('{') ? JSON.parse(text) : {}
  return { status: response.status, text, error: parsed.error ?? {} }
}

describe('an enrolment', () => {
  test.each([
    [{ device_id: `${CANARY}\n.` }, 'device_id must be 1 to 200 visible ASCII characters'],
    [{}, 'device_id must be 1 to 200 visible ASCII characters'],
    [{ device_id: 'a', device_name: '' }, 'device_name must be 1 to 100 printable characters'],
    [
      { device_id: 'a', device_name: `${CANARY}\u001b[2J` },
      'device_name must be 1 to 100 printable characters',
    ],
    [{ device_id: 'a', device_name: 7 }, 'device_name must be 1 to 100 printable characters'],
    [
      { device_id: 'a', app_version: `${CANARY}é` },
      'app_version must be 1 to 64 printable ASCII characters',
    ],
    [{ device_id: 'a', enrollment_code: [CANARY] }, 'enrollment_code must be a string'],
    [[CANARY], 'the request is malformed'],
    [CANARY, 'the request is malformed'],
  ])('of %j: %s', async (body, message) => {
    const { status, text, error } = await ask('/bootstrap', {}, JSON.stringify(body))
    expect([status, error]).toEqual([400, { type: 'invalid_request_error', message }])
    expect(text).not.toContain(CANARY)
  })
  test.each(['', '{', '{"device_id":"a","device_id":"b"}', `{"device_id":"${CANARY}"`, 'null'])(
    'of the text %j is malformed',
    async (body) => {
      const { status, text, error } = await ask('/bootstrap', {}, body)
      expect([status, error['message']]).toEqual([400, 'the request is malformed'])
      expect(text).not.toContain(CANARY)
    },
  )
  test('with another content type is still read as JSON', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const { error } = await ask('/bootstrap', { 'content-type': type }, '{"device_id":7}')
      expect(error['message']).toContain('device_id must be')
    }
  })
})

describe('the operator', () => {
  test('needs a credential before a query or a body is read', async () => {
    for (const [path, body] of [
      ['/admin/revoke', '{'],
      ['/admin/revoke', '{"name":7}'],
      ['/admin/stats?model=a&model=b', undefined],
      ['/admin/devices?before=a&before=b', undefined],
    ] as const) {
      expect([path, (await ask(path, {}, body)).status]).toEqual([path, 401])
    }
  })
  test.each([
    ['{"name":""}', 'name must be the name of a device, a family or a token'],
    [`{"name":["${CANARY}"]}`, 'name must be the name of a device, a family or a token'],
    ['{}', 'name must be the name of a device, a family or a token'],
    ['', 'the request is malformed'],
    [`{"name":"a","name":"${CANARY}"}`, 'the request is malformed'],
  ])('who revokes %j is told: %s', async (body, message) => {
    const { status, text, error } = await ask('/admin/revoke', { authorization: OPERATOR }, body)
    expect([status, error['message']]).toEqual([400, message])
    expect(text).not.toContain(CANARY)
  })
  test.each([
    [`since=${CANARY}`, 'since must be a date'],
    ['until=', 'until must be a date'],
  ])('who filters by %s is told: %s', async (query, message) => {
    const { status, text, error } = await ask(`/admin/stats?${query}`, { authorization: OPERATOR })
    expect([status, error['message']]).toEqual([400, message])
    expect(text).not.toContain(CANARY)
  })
  test('a query with a valid filter is answered', async () => {
    const query = 'model=m&device=&since=2026-11-29&other=x'
    const { status, text } = await ask(`/admin/stats?${query}`, { authorization: OPERATOR })
    expect([status, JSON.parse(text)]).toEqual([
      200,
      { filter: { model: 'm', sinceMs: Date.parse('2026-11-29') } },
    ])
  })
})

describe('the token of a control route', () => {
  test('comes in the header alone', async () => {
    const token = 'a'.repeat(32)
    for (const path of [
      `/admin/stats?access_token=${token}`,
      `/admin/stats?%00=${token}`,
      `/admin/stats?=${token}`,
      `/admin/stats?%ED%A0%80=${token}`,
      `/admin/stats?%uD800=${token}`,
      `/admin/stats?\ud800=${token}`,
    ]) {
      expect([400, 401]).toContain((await ask(path)).status)
    }
  })
  test('may be named in any case, and is no part of a longer word', async () => {
    const token = 'a'.repeat(32)
    for (const [scheme, status] of [
      ['Bearer ', 200],
      ['bearer ', 200],
      ['BEARER ', 200],
      ['Bearer', 401],
      ['Bearers ', 401],
      ['Bearer,', 401],
      ['Bearers', 401],
      ['Basic ', 401],
    ] as const) {
      const authorization = `${scheme}${token}`
      expect([scheme, (await ask('/admin/stats', { authorization })).status]).toEqual([
        scheme,
        status,
      ])
    }
  })
})

test('a person who pastes an invalid answer gets a page', async () => {
  for (const body of ['', 'code=a&code=b', `code=${'x'.repeat(5000)}`, 'state=a', '{"code":7}']) {
    const type = body.startsWith('{') ? 'application/json' : 'application/x-www-form-urlencoded'
    const headers = { 'content-type': type, accept: 'text/html', origin: 'http://localhost' }
    const { status, text } = await ask('/auth/device/submit', headers, body)
    expect([body.slice(0, 20), status]).toEqual([body.slice(0, 20), 400])
    expect(text).toContain('That is not the whole code')
  }
})
