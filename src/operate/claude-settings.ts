// What Claude Code would use instead of a gate, or send beside its token: variables of the shell, and
// its own settings files, whose `env` takes precedence over the shell's. Observed with Claude Code
// 2.1. Nothing is changed here, and no value is shown except addresses.

import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { ProcessEnvironment } from '../config/given.ts'

/** CLAUDE_CONFIG_DIR moves Claude Code's whole folder. */
export function settingsFile(env: ProcessEnvironment): string {
  return join(env['CLAUDE_CONFIG_DIR'] || join(homedir(), '.claude'), 'settings.json')
}

/** With these it talks to a cloud's API, and never to the gate. */
export const OTHER_CLOUDS = [
  'CLAUDE_CODE_USE_BEDROCK',
  'CLAUDE_CODE_USE_VERTEX',
  'CLAUDE_CODE_USE_FOUNDRY',
] as const

const BESIDE =
  'Claude Code sends it beside the token, and the gate answers 400 to two credentials; unset it'
const INSTEAD = 'Claude Code sends it in the place of the token, and the gate answers 401; unset it'
const ELSEWHERE = 'Claude Code goes there and not to the gate; unset it'

/** The effect of each beside the helper that `setup` writes. */
const EFFECTS: Readonly<Record<string, string>> = {
  ANTHROPIC_API_KEY: BESIDE,
  ANTHROPIC_AUTH_TOKEN: INSTEAD,
  ...Object.fromEntries(OTHER_CLOUDS.map((name) => [name, ELSEWHERE])),
}

/** A line for each variable of the shell that interferes. */
export function inTheWay(env: ProcessEnvironment): string[] {
  const lines = Object.entries(EFFECTS)
    .filter(([name]) => isOn(name, env[name]))
    .map(([name, effect]) => `${name} is set in this shell: ${effect}`)
  if (carriesCredential(env['ANTHROPIC_CUSTOM_HEADERS'])) {
    lines.push(`ANTHROPIC_CUSTOM_HEADERS in this shell holds a credential: ${BESIDE}`)
  }
  return lines
}

/** The same for a settings file, beside what `setup` writes. */
export function inTheWayThere(settings: ClaudeSettings): string[] {
  return Object.entries(EFFECTS)
    .filter(([name]) => isOn(name, settings.env[name]))
    .map(([name, effect]) => `env.${name} is set there: ${effect.replace('unset', 'remove')}`)
}

const isOn = (name: string, value: unknown): boolean => {
  const text = typeof value === 'string' ? value : ''
  // Claude Code takes 0 and false as off for its switches.
  return text !== '' && !(name.startsWith('CLAUDE_CODE_USE') && /^(0|false|no|off)$/i.test(text))
}

/** One header a line. */
function carriesCredential(headers: string | undefined): boolean {
  return /^\s*(?:authorization|x-api-key)\s*:/im.test(headers ?? '')
}

/** Removes headers that would be a second credential; undefined if none is left. */
export function withoutCredentials(headers: string): string | undefined {
  const lines = headers.split(/\r?\n|\\n/).filter((line) => !carriesCredential(line))
  return lines.join('\n') || undefined
}

export interface ClaudeSettings {
  readonly file: string
  readonly env: Readonly<Record<string, unknown>>
  readonly apiKeyHelper: unknown
}

const MAX_FILE_BYTES = 1_048_576

/** The existing settings files of the user and of the project in `folder`. */
export function claudeSettings(env: ProcessEnvironment, folder: string): ClaudeSettings[] {
  const files = [
    settingsFile(env),
    join(folder, '.claude', 'settings.json'),
    join(folder, '.claude', 'settings.local.json'),
  ]
  return files.flatMap((file) => {
    try {
      if (statSync(file).size > MAX_FILE_BYTES) return []
      const text = readFileSync(file, 'utf8').replace(/^\uFEFF/, '')
      const { env: inside, apiKeyHelper } = Object(JSON.parse(text)) as Record<string, unknown>
      return [{ file, env: Object(inside) as Record<string, unknown>, apiKeyHelper }]
    } catch {
      // Claude Code ignores what it cannot read.
      return []
    }
  })
}

/**
 * The value of `--settings` that makes Claude Code use this gate and the token in its environment,
 * whatever its files say; undefined if they do not interfere. `unheeded`: files with a setting that
 * no flag can override without showing the token to everybody who lists processes.
 */
export function overriding(
  all: readonly ClaudeSettings[],
  baseUrl: string,
): {
  readonly settings: string | undefined
  readonly names: string[]
  readonly unheeded: string[]
} {
  const env: Record<string, string> = {}
  const names: string[] = []
  let helper = false
  for (const settings of all) {
    const base = settings.env['ANTHROPIC_BASE_URL']
    if (base !== undefined && base !== baseUrl) env['ANTHROPIC_BASE_URL'] = baseUrl
    for (const name of ['ANTHROPIC_API_KEY', ...OTHER_CLOUDS]) {
      if (isOn(name, settings.env[name])) env[name] = ''
    }
    // The helper may print a newer token, and then there are two.
    helper ||= settings.apiKeyHelper !== undefined && settings.apiKeyHelper !== ''
  }
  names.push(...Object.keys(env).map((name) => `env.${name}`))
  if (helper) names.push('apiKeyHelper')
  const made = { ...(helper && { apiKeyHelper: '' }), ...(Object.keys(env).length > 0 && { env }) }
  return {
    settings: names.length === 0 ? undefined : JSON.stringify(made),
    names,
    unheeded: all
      .filter((each) => isOn('', each.env['ANTHROPIC_AUTH_TOKEN']))
      .map(({ file }) => file),
  }
}
