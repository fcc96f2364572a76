// Forms as clients write them are read as the object of their fields; what two parsers could read
// differently is refused.

import { describe, expect, test } from 'bun:test'
import { boundaryIn, formFields } from '../../src/upstream/reading/form.ts'
import { seeded } from '../support/random.ts'

const B = 'x-boundary-1'
const field = (name: string, value: string, more = ''): string =>
  `--${B}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
const file = (name: string, value: string): string =>
  `--${B}\r\nContent-Disposition: form-data; name="${name}"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n${value}\r\n`
const END = `--${B}--\r\n`

function read(body: string | Uint8Array, boundary = B): unknown {
  const found = formFields(typeof body === 'string' ? Buffer.from(body, 'latin1') : body, boundary)
  return found.ok ? JSON.parse(Buffer.from(found.value).toString()) : found.code
}

test('fields are members, and those with brackets lists; files are there, and nothing of them', () => {
  const body =
    file('image[]', '\x89PNG\r\n\r\n--') +
    field('model', 'gpt-image-1') +
    field('prompt', '') +
    field('n', '2') +
    field('stream', 'true') +
    field('include[]', 'a') +
    field('include[]', 'b') +
    file('mask', '') +
    END
  expect(read(body)).toEqual({
    model: 'gpt-image-1',
    prompt: '',
    n: 2,
    stream: true,
    include: ['a', 'b'],
    'image[]': null,
    mask: null,
  })
})

test('a field with several brackets is a member within, whose name is not hidden by them', () => {
  const body =
    field('images[0][file_id]', 'file-1') +
    field('images[][file_id]', 'file-2') +
    field('expires_after[seconds]', '60') +
    field('a[b][c][]', 'x') +
    field('file_id[0]', 'file-3') +
    END
  expect(read(body)).toEqual({
    images: [{ file_id: 'file-1' }, { file_id: 'file-2' }],
    expires_after: [{ seconds: 60 }],
    a: [{ b: { c: ['x'] } }],
    file_id: ['file-3'],
  })
})

test.each(['a[', 'a]', '[a]', 'a[b]c', 'a[[b]]', 'a[b'])('the name %s is not read', (name) => {
  expect(read(field(name, 'x') + END)).toBe('ambiguous_body')
})

test('what clients send of themselves is read', async () => {
  const form = new FormData()
  form.set('model', 'whisper-1')
  form.set('prompt', 'grüße "\r\n"')
  form.set('file', new File([new Uint8Array([1, 13, 10, 45, 45])], 'a"b.mp3'))
  const request = new Request('http://gate.test', { method: 'POST', body: form })
  const boundary = boundaryIn(request.headers.get('content-type'))
  expect(read(await request.bytes(), boundary)).toEqual({
    model: 'whisper-1',
    prompt: 'grüße "\r\n"',
    file: null,
  })
})

test.each([
  ['multipart/form-data; boundary=abc', 'abc'],
  ['multipart/form-data; boundary="a b"', undefined],
  ['multipart/form-data; boundary="abc"', 'abc'],
  ['multipart/form-data; boundary=abc; boundary=def', undefined],
  ['multipart/form-data; charset=utf-8; boundary=abc', undefined],
  ['multipart/form-data', undefined],
  ['multipart/mixed; boundary=abc', undefined],
  ['application/json', undefined],
])('%s has the boundary %s', (type, boundary) => {
  expect(boundaryIn(type)).toBe(boundary)
})

describe('attack: refused is', () => {
  const model = field('model', 'allowed')
  test.each([
    ['a preamble', `ignored\r\n${model}${END}`],
    ['a part behind the end', `${model}${END}${field('model', 'other')}`],
    ['no end', model],
    ['an end without its dashes', `${model}--${B}-`],
    ['a boundary within a value', field('prompt', `a\r\n--${B}x`) + model + END],
    ['a boundary after a bare line feed', `${field('prompt', `a\n--${B}\n`)}${model}${END}`],
    ['a boundary with a blank behind it', model.replace(`${B}\r\n`, `${B} \r\n`) + END],
    ['bare line feeds', `${model}${END}`.replaceAll('\r\n', '\n')],
    ['a name without quotes', model.replace('"model"', 'model') + END],
    ['a name with an escape', field('mo\\del', 'other') + model + END],
    [
      'a second disposition',
      model.replace('\r\n\r\n', '\r\nContent-Disposition: form-data; name="x"\r\n\r\n') + END,
    ],
    ['a folded header', model.replace('; name', ';\r\n name') + END],
    [
      'a transfer encoding',
      model.replace('\r\n\r\n', '\r\nContent-Transfer-Encoding: base64\r\n\r\n') + END,
    ],
    [
      'another charset',
      model.replace('\r\n\r\n', '\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n') + END,
    ],
    ['a charset of all', field('_charset_', 'utf-16') + model + END],
    ['a name by another member', model.replace('"model"', `"x"; name*=utf-8''model`) + END],
    ['a value that is no UTF-8', field('model', '\xff') + END],
    ['nothing', ''],
  ])('%s', (_, body) => {
    expect(read(body)).toBe('ambiguous_body')
  })

  test('what is there twice comes twice, so that who reads the object refuses it', () => {
    for (const twice of [model + model, model + file('model', 'other')]) {
      const found = formFields(Buffer.from(twice + END), B)
      expect(
        found.ok &&
          Buffer.from(found.value)
            .toString()
            .match(/"model":/g),
      ).toHaveLength(2)
    }
  })
})

test(
  'whatever the bytes are, nothing is thrown, and no field is found that a strict reader has not',
  seeded((random) => {
    const parts = [field('model', 'a'), file('f', 'x'), END, `--${B}`, '\r\n', '--', 'model', '\0']
    for (let round = 0; round < 500; round += 1) {
      const body = Array.from({ length: 1 + random.int(6) }, () => random.pick(parts)).join('')
      const found = read(body) as Record<string, unknown>
      if (typeof found === 'string') continue
      const whole = body.startsWith(`--${B}`) && body.replace(/\r\n$/, '').endsWith(`--${B}--`)
      expect([body, whole]).toEqual([body, true])
    }
  }),
)
