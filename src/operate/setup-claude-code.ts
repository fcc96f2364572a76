// `postern setup claude-code`: writes the helper and the gate's address into Claude Code's settings
// file, after showing the difference and asking. Everything else in the file stays as it is, byte for
// byte; a file that is not valid JSON is not touched; the previous file is kept beside it. No token is
// ever written there, and only the changes are shown.

import { randomUUID } from 'node:crypto'
import { constants, copyFile, mkdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { parseBaseUrl } from '../client/base-url.ts'
import { isCode } from '../client/lock.ts'
import { replaceFile } from '../client/replace-file.ts'
import type { ProcessEnvironment } from '../config/given.ts'
import { inTheWay, inTheWayThere, settingsFile } from './claude-settings.ts'
import type { CommandIo } from './exec.ts'
import { EXIT } from './exit.ts'
import { setMember } from './json-text.ts'
import { shellWord } from './shell-word.ts'

export interface SetupOptions {
  readonly baseUrl: string
  /** The settings file; by default Claude Code's own. */
  readonly file?: string | undefined
  /** The helper's command line, beginning with an absolute path; by default `helperCommand()`. */
  readonly helper?: readonly string[] | undefined
  /** How long Claude Code keeps the helper's output. */
  readonly helperTtlMs?: number | undefined
  readonly yes?: boolean | undefined
  /** The environment of the shell in which Claude Code will start. */
  readonly env?: ProcessEnvironment | undefined
}

export interface SetupIo extends CommandIo {
  readonly stdin: Readable & { readonly isTTY?: boolean }
}

/** Claude Code's own default; a token is printed from a file, so a longer time gains nothing. */
const HELPER_TTL_MS = 300_000
const MAX_FILE_BYTES = 1_048_576

/** This executable, or Bun and our source if it is not compiled. */
export function helperCommand(...args: readonly string[]): readonly string[] {
  const self = Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, Bun.main]
  return [...self, 'token', ...args]
}

/** Resolves with the exit code. */
export async function setupClaudeCode(options: SetupOptions, io: SetupIo): Promise<number> {
  const no = (message: string, exitCode = 1): number => {
    io.stderr.write(`postern setup claude-code: ${message}\n`)
    return exitCode
  }
  const baseUrl = parseBaseUrl(options.baseUrl)
  if (baseUrl === undefined) return no('the gate must be https, or http on loopback', EXIT.usage)
  const file = await followed(options.file ?? settingsFile(options.env ?? process.env))
  const before = await readSettings(file)
  if (before === 'unreadable') return no(`${file} cannot be read; nothing was changed`)
  const wanted: readonly Wanted[] = [
    { path: ['apiKeyHelper'], value: shellCommand(options.helper ?? helperCommand()) },
    { path: ['env', 'ANTHROPIC_BASE_URL'], value: baseUrl },
    {
      path: ['env', 'CLAUDE_CODE_API_KEY_HELPER_TTL_MS'],
      value: String(options.helperTtlMs ?? HELPER_TTL_MS),
    },
  ]
  const edited = edit(before ?? '', wanted)
  if (!edited) return no(`${file} is not a JSON object that can be edited; nothing was changed`)
  for (const line of [...edited.inTheWay, ...inTheWay(options.env ?? {})]) {
    io.stderr.write(`! ${line}\n`)
  }
  if (edited.difference === '') {
    io.stdout.write(`${file}: nothing to change\n`)
    return 0
  }
  io.stdout.write(`${file}\n${edited.difference}`)
  if (options.yes !== true) {
    if (io.stdin.isTTY !== true) return no('no terminal to ask at; --yes writes it', EXIT.usage)
    if (!(await agreed(io))) return no('nothing was changed')
  }
  // Claude Code writes to this file itself, and had time to.
  if ((await readSettings(file)) !== before)
    return no(`${file} has changed meanwhile; run it again`)
  try {
    const backup = before === undefined ? undefined : await keepCopy(file)
    await replace(file, edited.text)
    io.stdout.write(`written${backup === undefined ? '' : `; the one before is ${backup}`}\n`)
    return 0
  } catch {
    return no(`${file} cannot be written`)
  }
}

interface Wanted {
  readonly path: readonly [string] | readonly [string, string]
  readonly value: string
}

interface Edited {
  readonly text: string
  /** A line for each value removed and added; '' if nothing changes. */
  readonly difference: string
  /** What in the file would interfere with the helper. */
  readonly inTheWay: readonly string[]
}

/** Pure. Undefined if `before` is not an object that can be edited. */
export function edit(before: string, wanted: readonly Wanted[]): Edited | undefined {
  let text = before.trim() === '' ? '{}\n' : before
  const settings = parseObject(text)
  if (!settings) return undefined
  const env = Object.hasOwn(settings, 'env') ? settings['env'] : {}
  if (!isObject(env)) return undefined
  const expected: Record<string, unknown> = { ...settings, env: { ...env } }
  let difference = ''
  for (const { path, value } of wanted) {
    const [name, inner] = path
    const of = inner === undefined ? expected : (expected['env'] as Record<string, unknown>)
    const key = inner ?? name
    const present = Object.hasOwn(of, key) ? of[key] : undefined
    if (present === value) continue
    const label = path.join('.')
    if (present !== undefined) difference += `- ${label}: ${printable(present)}\n`
    difference += `+ ${label}: ${printable(value)}\n`
    of[key] = value
    const next = setMember(text, path, value)
    if (next === undefined) return undefined
    text = next
  }
  // The editor works on text, so its result must parse to exactly what was intended.
  const made = parseObject(text)
  if (!made || !Bun.deepEquals(made, difference === '' ? settings : expected, true))
    return undefined
  return { text, difference, inTheWay: inTheWayThere({ file: '', env, apiKeyHelper: undefined }) }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''))
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Text that somebody else wrote into the file must not move the cursor. */
function printable(value: unknown): string {
  return (JSON.stringify(value) ?? '').replace(
    /[^ -~]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Claude Code passes the helper to a shell. */
function shellCommand(words: readonly string[]): string {
  if (process.platform === 'win32') {
    return words.map((word) => (/^[\w.:\\/=-]+$/.test(word) ? word : `"${word}"`)).join(' ')
  }
  return words.map(shellWord).join(' ')
}

/** Some people keep their settings elsewhere and link to them: the link stays. */
async function followed(file: string): Promise<string> {
  return realpath(file).catch(() => file)
}

async function readSettings(file: string): Promise<string | undefined | 'unreadable'> {
  try {
    const { size } = await stat(file)
    if (size > MAX_FILE_BYTES) return 'unreadable'
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(file))
  } catch (error) {
    return isCode(error, 'ENOENT') ? undefined : 'unreadable'
  }
}

async function agreed({ stdin, stdout }: SetupIo): Promise<boolean> {
  stdout.write('write this? [y/N] ')
  const lines = createInterface({ input: stdin })
  try {
    for await (const line of lines) return /^y(es)?$/i.test(line.trim())
    return false
  } finally {
    lines.close()
  }
}

async function keepCopy(file: string): Promise<string> {
  const at = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const backup = `${file}.before-postern-${at}-${randomUUID().slice(0, 4)}`
  await copyFile(file, backup, constants.COPYFILE_EXCL)
  return backup
}

async function replace(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const mode = await stat(file).then(
    (stats) => stats.mode & 0o777,
    () => 0o600,
  )
  await replaceFile(file, text, mode)
}
