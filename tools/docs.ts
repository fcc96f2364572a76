// Generates the documentation's tables from the tables that the program runs on: `bun tools/docs.ts`
// writes them, and a test fails where they have drifted. Not part of the binary.

import type { RelayedRoute } from '../src/accept/relayed-route.ts'
import { CLIENT_SECRETS_ROUTE, REALTIME_ROUTE, RELAYED_ROUTES } from '../src/accept/routes.ts'
import { memberOf } from '../src/config/document/tree.ts'
import {
  flagOf,
  type Group,
  type Key,
  KEYS,
  type Reloaded,
  type Setting,
  settingOf,
} from '../src/config/table.ts'
import { usualCallers } from '../src/config/upstreams.ts'
import { KINDS } from '../src/gate/upstreams.ts'
import { UPSTREAM_KINDS } from '../src/names.ts'
import { EVERY_ROUTE } from '../test/support/routes.ts'

/** The pages with generated tables. */
export const PAGES = ['docs/api.md', 'docs/settings.md'] as const

/** `<!-- name -->…<!-- /name -->` in a page holds the table of that name. */
export function withTables(page: string): string {
  const tables = { routes: routes(), settings: settings() }
  return Object.entries(tables).reduce(
    (text, [name, table]) =>
      text.replace(
        new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`),
        (_, open: string, close: string) => `${open}\n${table}\n${close}`,
      ),
    page,
  )
}

function row(...cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
}

function routes(): string {
  const own = EVERY_ROUTE.filter(({ access }) => access !== 'relayed').map(
    ({ method, path, access, about }) => row(`\`${method} ${path}\``, access, '', about),
  )
  const relayed = [...RELAYED_ROUTES, REALTIME_ROUTE, CLIENT_SECRETS_ROUTE].map((route) =>
    row(`\`${route.method} ${route.path}\``, callersOf(route), route.group, route.about),
  )
  const head = row('Route', 'Access', 'Group', '') + row('---', '---', '---', '---')
  return head + own.join('') + relayed.join('')
}

/** Where no setting says otherwise. */
function callersOf({ method, path, dialects }: RelayedRoute): string {
  const serving = UPSTREAM_KINDS.filter((kind) =>
    dialects.some((dialect) => KINDS[kind].serves({ dialect, method, path })),
  )
  return [...new Set(serving.flatMap(usualCallers))].join(', ')
}

function settings(): string {
  const groups = [...new Set(KEYS.map((key) => settingOf(key).group))]
  return groups.map((group) => settingsOf(group)).join('\n')
}

/** What a running gate takes of a change. */
const RELOADED: Readonly<Record<Reloaded, string>> = { taken: 'yes', value: 'its value' }

function settingsOf(group: Group): string {
  const rows = KEYS.filter((key) => settingOf(key).group === group).map((key) => {
    const setting = settingOf(key)
    const { env, about, secret, reload } = setting
    const file = secret ? ` Or the file that \`${env}_FILE\` names.` : ''
    const names = [`\`${env}\``, `\`${flagOf(env)}\``, member(key)]
    return row(...names, fallbackOf(setting), reload ? RELOADED[reload] : 'restart', about + file)
  })
  const head = row(group, 'Flag', 'In a document', 'Default', 'Reload', '')
  return head + row('---', '---', '---', '---', '---', '---') + rows.join('')
}

function member(key: Key): string {
  const path = memberOf(key)
  return path === undefined ? '' : `\`${path}\``
}

function fallbackOf({ fallback, devFallback, required }: Setting<unknown>): string {
  if (required) return `**required** for ${required}`
  if (fallback === undefined) return ''
  return devFallback === undefined
    ? `\`${fallback}\``
    : `\`${fallback}\`; in development mode \`${devFallback}\``
}

if (import.meta.main) {
  for (const page of PAGES) await Bun.write(page, withTables(await Bun.file(page).text()))
  await Bun.$`${process.execPath} fmt --no-script ${PAGES}`.quiet()
}
