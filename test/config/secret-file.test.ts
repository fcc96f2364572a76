import { HASH_KEY } from '../support/settings.ts'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { mistakes, PRODUCTION, settings, upstreamOf, wrong } from './reading.ts'

describe('secrets in files', () => {
  let folder: string
  const file = (name: string, text: string, mode: number): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    chmodSync(path, mode)
    return path
  }
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))
  const { TINFOIL_API_KEY: _, ...withoutKey } = PRODUCTION
  const fromFile = (path: string): ProcessEnvironment => ({
    ...withoutKey,
    TINFOIL_API_KEY_FILE: path,
  })

  test('come from a file, without its last line break', () => {
    const path = file('good', 'tk-file\n', 0o640)
    expect(upstreamOf(settings([], fromFile(path)), 'tinfoil')?.apiKey?.reveal()).toBe('tk-file')
    expect(
      upstreamOf(
        settings(['--tinfoil-api-key-file', path], withoutKey),
        'tinfoil',
      )?.apiKey?.reveal(),
    ).toBe('tk-file')
    const key = file('hash', `${HASH_KEY}\r\n`, 0o400)
    const { IDENTITY_HASH_KEY: _key, ...rest } = PRODUCTION
    expect(settings([], { ...rest, IDENTITY_HASH_KEY_FILE: key }).identityHashKey?.reveal()).toBe(
      HASH_KEY,
    )
  })
  test('a file that everybody can read is refused, but for development mode', () => {
    const path = file('open', 'tk-canary-file', 0o644)
    expect(mistakes([], fromFile(path))).toEqual([
      {
        setting: 'TINFOIL_API_KEY_FILE',
        message: 'names a file that everybody on this machine can read',
        hint: `chmod 600 ${path}; in Kubernetes set defaultMode: 0440`,
      },
    ])
    expect(
      upstreamOf(
        settings(['--dev-mode'], { TINFOIL_API_KEY_FILE: path }),
        'tinfoil',
      )?.apiKey?.reveal(),
    ).toBe('tk-canary-file')
  })
  test('a file that is missing, a folder, huge, empty or of no use is a mistake', () => {
    const paths = [
      join(folder, 'missing'),
      folder,
      '/dev/zero',
      'a\0b',
      file('huge', 'x'.repeat(65_537), 0o600),
      file('empty', ' \n', 0o600),
      file('lines', 'tk-canary-1\ntk-canary-2', 0o600),
    ]
    for (const path of paths) {
      expect(wrong([], fromFile(path))).toEqual(['TINFOIL_API_KEY_FILE'])
      expect(JSON.stringify(mistakes([], fromFile(path)))).not.toContain('canary')
    }
  })
  test('the reason why it cannot be read is reported with a hint', () => {
    const said = (path: string) => mistakes([], fromFile(path))[0]
    expect(said(join(folder, 'missing'))?.message).toBe('names a file that is not there')
    expect(said(file('blank', '\n', 0o600))?.message).toBe('names a file that is empty')
    expect(said(file('it is open', 'tk', 0o604))?.hint).toContain(
      `chmod 600 '${folder}/it is open'`,
    )
  })
  test('given twice, in whichever way, is a mistake', () => {
    const path = file('twice', 'tk', 0o600)
    expect(wrong([], { ...PRODUCTION, TINFOIL_API_KEY_FILE: path })).toEqual([
      'TINFOIL_API_KEY_FILE',
    ])
    expect(wrong(['--tinfoil-api-key-file', path])).toEqual(['--tinfoil-api-key-file'])
    expect(wrong(['--tinfoil-api-key=k'], fromFile(path))).toEqual(['TINFOIL_API_KEY_FILE'])
  })
  test('only secrets come from files', () => {
    expect(wrong(['--issuer-file=/etc/passwd'])).toEqual(['--issuer-file'])
  })
})
