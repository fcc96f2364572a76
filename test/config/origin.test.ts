// Origins of pages, of apps and of extensions, and the reasons for invalid entries.

import { describe, expect, test } from 'bun:test'
import { originMistake } from '../../src/config/origin.ts'
import { SETTINGS } from '../../src/config/table.ts'
import { label, named } from '../support/named.ts'

const EXTENSION = 'abcdefghijklmnopabcdefghijklmnop'
const UUID = '0f6c5d1e-9c1b-4e0a-8a51-3d6f0c8f2b7a'

describe('an origin', () => {
  test.each([
    'https://app.example',
    'http://localhost:3000',
    'https://app.example:8443',
    'http://[::1]:81',
    'https://xn--bcher-kva.example',
    'tauri://localhost',
    'http://tauri.localhost',
    'https://tauri.localhost',
    'capacitor://localhost',
    'ionic://localhost',
    'app://localhost',
    'app://obsidian.md',
    'app://.',
    'app://-',
    'vscode-webview://1p2m5k8qd5v8b0u3qk2o8b0a1t7n6l0v3h7d9r2c',
    'vscode-file://vscode-app',
    `chrome-extension://${EXTENSION}`,
    `moz-extension://${UUID}`,
    `safari-web-extension://${UUID.toUpperCase()}`,
    'com.example.app://localhost:8080',
  ])('%p', (text) => expect(originMistake(text)).toBeUndefined())

  test.each(
    named(
      [
        ['null', 'every sandboxed frame'],
        ['*', 'every page'],
        ['app.example', 'no scheme'],
        ['//app.example', 'no scheme'],
        ['localhost:3000', 'no scheme'],
        ['tauri:localhost', 'no scheme'],
        ['https://app.example/', 'without a slash'],
        ['tauri://localhost/', 'without a slash'],
        ['https://app.example/x', 'a path'],
        ['https://app.example?x', 'a query'],
        ['https://app.example#x', 'goes on behind the host'],
        ['https://app.example:443', 'they say https://app.example'],
        ['http://app.example:80', 'they say http://app.example'],
        ['https://APP.example', 'they say https://app.example'],
        ['https://bücher.example', 'they say https://xn--bcher-kva.example'],
        ['HTTPS://app.example', 'not in lower case'],
        ['Tauri://localhost', 'not in lower case'],
        ['https://*.example', 'a wildcard'],
        ['chrome-extension://*', 'a wildcard'],
        ['https://user@app.example', 'carries a user'],
        ['https://user:secret@app.example', 'carries a user'],
        ['https://', 'no host'],
        ['tauri://', 'no host'],
        ['https://app.example:99999', 'an invalid host or port'],
        ['app://lo calhost', 'blanks'],
        ['https://one.example https://two.example', 'separate origins by commas'],
        ['file://', 'every local file'],
        ['file:///x', 'every local file'],
        ['data:text/plain,x', 'no origin of its own'],
        ['blob:https://app.example/x', 'no origin of its own'],
        ['javascript://x', 'no origin of its own'],
        ['wss://app.example', 'WebSockets'],
        [`chrome-extension://${EXTENSION}/`, 'without a slash'],
        ['chrome-extension://abc', '32 letters'],
        [`chrome-extension://${EXTENSION.replace('a', 'z')}`, '32 letters'],
        [`moz-extension://${UUID.toUpperCase()}`, 'UUID'],
        ['moz-extension://abc', 'UUID'],
        ['app://häuser', 'an invalid host'],
        ['1app://localhost', 'an invalid scheme'],
      ],
      (text, why) => `is not ${label(text)}: ${why}`,
    ),
  )('%s', (_, text, why) => expect(originMistake(text)).toContain(why))
})

test('a mistake in a list says which entry and why, and repeats none of it', () => {
  const read = SETTINGS.corsOrigins.kind.read(
    'https://app.example, tauri://localhost, null, https://user:secret@app.example',
  )
  expect(read).toMatchObject({
    ok: false,
    message:
      'has mistakes in its list: entry 3 is the origin of every sandboxed frame, so it names no page; entry 4 carries a user; an origin has none',
  })
  expect(JSON.stringify(read)).not.toContain('secret')
})
