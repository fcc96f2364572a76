// The README's tables, made from the tables that the program runs on: `bun tools/docs.ts`
// writes them, and a test fails where they have drifted. Not part of the binary.

import { ALL_ROUTES } from '../src/accept/routes.ts'
import { flagOf, type Group, SETTINGS, type Setting } from '../src/config/table.ts'

/** `<!-- name -->…<!-- /name -->` in the README holds the table of that name. */
export function withTables(readme: string): string {
  const tables = { routes: routes(), settings: settings() }
  return Object.entries(tables).reduce(
    (text, [name, table]) =>
      text.replace(
        new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`),
        (_, open: string, close: string) => `${open}\n${table}\n${close}`,
      ),
    readme,
  )
}

function row(...cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
}

function routes(): string {
  const rows = ALL_ROUTES.map(({ method, path, access, about }) =>
    row(`\`${method} ${path}\``, access, about),
  )
  return row('Route', 'Access', '') + row('---', '---', '---') + rows.join('')
}

function settings(): string {
  const all: readonly Setting<unknown>[] = Object.values(SETTINGS)
  const groups = [...new Set(all.map(({ group }) => group))]
  return groups.map((group) => settingsOf(group, all)).join('\n')
}

function settingsOf(group: Group, all: readonly Setting<unknown>[]): string {
  const rows = all
    .filter((setting) => setting.group === group)
    .map((setting) => {
      const { env, about, secret } = setting
      const file = secret ? ` Or the file that \`${env}_FILE\` names.` : ''
      return row(`\`${env}\``, `\`${flagOf(env)}\``, fallbackOf(setting), about + file)
    })
  const head = row(group, 'Flag', 'Default', '') + row('---', '---', '---', '---')
  return head + rows.join('')
}

function fallbackOf({ fallback, devFallback, required }: Setting<unknown>): string {
  if (required) return `**required** for ${required}`
  if (fallback === undefined) return ''
  return devFallback === undefined
    ? `\`${fallback}\``
    : `\`${fallback}\`; in development mode \`${devFallback}\``
}

if (import.meta.main) {
  const readme = await Bun.file('README.md').text()
  await Bun.write('README.md', withTables(readme))
  await Bun.$`${process.execPath} fmt --no-script README.md`.quiet()
}
