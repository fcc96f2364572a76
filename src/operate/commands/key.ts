// `postern key add|list|rotate|revoke`: their options. The work is done in ../keys.ts.

import type { ProcessEnvironment } from '../../config/given.ts'
import type { Mistake } from '../../config/kinds.ts'
import { nearest } from '../../config/nearest.ts'
import type { PolicyEntries } from '../../config/policies.ts'
import { stderr, stdout } from '../../print.ts'
import { EXIT } from '../exit.ts'
import {
  add as addTo,
  type AddFlags,
  type KeyRules,
  readAdd,
  readRotation,
  revoke as revokeBy,
  rotate as rotateBy,
  type RotateFlags,
} from '../keys.ts'
import { readKeyDefaults } from '../key-defaults.ts'
import { list as listOf } from '../key-list.ts'
import { nowSeconds, output } from './output.ts'
import { failed, type Subcommand, subcommand } from './subcommand.ts'
import { withRecords } from './with-records.ts'

function mistaken(action: string, mistakes: readonly Mistake[]): number {
  for (const { setting, message, hint } of mistakes) {
    stderr.write(`postern key ${action}: ${setting} ${message}\n    ${hint}\n`)
  }
  return EXIT.usage
}

/** The settings for keys; reports their mistakes. */
function rulesOf(
  env: ProcessEnvironment,
  policies: PolicyEntries | undefined,
): KeyRules | undefined {
  const defaults = readKeyDefaults(env)
  const names = policies?.policies.map(({ name }) => name)
  if (defaults.ok) return { ...defaults.value, policies: names }
  for (const { setting, message, hint } of defaults.mistakes) {
    stderr.write(`postern key: ${setting} ${message}\n    ${hint}\n`)
  }
  return undefined
}

const EXPIRES = 'Until when: 12h, 90d, 2027-01-31, never'

const add = subcommand<AddFlags>({
  name: 'key add',
  synopsis: 'add NAME',
  summary: 'makes a key and prints it, this once',
  description: 'Makes a key for a server, CI or a tool, and prints it once; its hash is kept.',
  define(command) {
    command
      .argument('<name>', 'what lists, reports and postern key revoke call it')
      .option('--policy <name>', 'The policy that it is for (default: KEY_POLICY).')
      .option('--org <id>', 'The organisation that its usage counts for.')
      .option('--expires <when>', `${EXPIRES} (default: KEY_EXPIRES, 90d).`)
      .allowExcessArguments(false)
  },
  readsSettings: true,
  run({ flags, words }, env, policies) {
    const now = nowSeconds()
    const rules = rulesOf(env, policies)
    if (!rules) return EXIT.config
    const terms = readAdd(words[0] ?? '', flags, rules, now)
    if (!terms.ok) return mistaken('add', terms.mistakes)
    return withRecords(env, 'existing', ({ keys }) =>
      addTo(keys, terms.value, output, { policies: rules.policies, nowSeconds: now }),
    )
  },
})

interface ListFlags {
  readonly all?: boolean
  readonly json?: boolean
}

const list = subcommand<ListFlags>({
  name: 'key list',
  synopsis: 'list',
  summary: 'the keys: policy, organisation, last seen, until when',
  description:
    'Lists the keys, the newest first. No key is shown; nobody has them but their callers.',
  define(command) {
    command
      .option('--all', 'Also those that were revoked, replaced, or have expired.')
      .option('--json', 'One JSON list, for a program.')
      .allowExcessArguments(false)
  },
  readsSettings: true,
  run({ flags: { all = false, json = false } }, env, entries) {
    const policies = entries?.policies.map(({ name }) => name)
    return withRecords(env, 'read', async ({ keys }) => {
      await listOf(keys, { all, json, policies }, output, nowSeconds())
      return 0
    })
  },
})

const rotate = subcommand<RotateFlags>({
  name: 'key rotate',
  synopsis: 'rotate NAME',
  summary: 'prints a new key; the old one stays good for the overlap',
  description:
    'Makes a new key of the same name, policy and organisation, and prints it once. The old one stays ' +
    'good for the overlap, and usage and limits count both as one caller.',
  define(command) {
    command
      .argument('<name>')
      .option(
        '--overlap <24h>',
        'How long the old key stays good; 0: ends now (default: KEY_ROTATION_OVERLAP, 24h).',
      )
      .option('--expires <when>', `${EXPIRES} (default: as long as the old one was made for).`)
      .allowExcessArguments(false)
  },
  readsSettings: true,
  run({ flags, words }, env, policies) {
    const now = nowSeconds()
    const rules = rulesOf(env, policies)
    if (!rules) return EXIT.config
    const rotation = readRotation(flags, rules, now)
    if (!rotation.ok) return mistaken('rotate', rotation.mistakes)
    const name = words[0] ?? ''
    return withRecords(env, 'existing', ({ keys }) =>
      rotateBy(keys, name, rotation.value, output, now),
    )
  },
})

const revoke = subcommand({
  name: 'key revoke',
  synopsis: 'revoke NAME',
  summary: 'ends a key, on a running gate too',
  description:
    'Ends a key by its name, with the keys that its rotations have left valid, or by its hash as logs show it; ' +
    'or by the key itself, if somebody has found it, and then that one alone.',
  define: (command) => command.argument('<name>').allowExcessArguments(false),
  readsSettings: true,
  run: ({ words }, env) =>
    withRecords(env, 'existing', ({ keys }) =>
      revokeBy(keys, words[0] ?? '', output, nowSeconds()),
    ),
})

const ACTIONS: ReadonlyMap<string, Subcommand> = new Map([
  ['add', add],
  ['list', list],
  ['rotate', rotate],
  ['revoke', revoke],
])

/** What people write for them. */
const OTHER_ACTIONS: ReadonlyMap<string, string> = new Map([
  ['create', 'add'],
  ['new', 'add'],
  ['ls', 'list'],
  ['roll', 'rotate'],
  ['delete', 'revoke'],
  ['remove', 'revoke'],
  ['rm', 'revoke'],
])

const WIDTH = 15

const HELP = `Usage: postern key ACTION

Keys for servers, CI and tools that know only an API key.

Actions; postern key ACTION --help shows its options:
${[...ACTIONS.values()].map((each) => `  ${each.synopsis.padEnd(WIDTH)}${each.summary}\n`).join('')}`

export const key: Subcommand = {
  name: 'key',
  synopsis: 'key ACTION',
  summary: 'keys for servers and CI: add, list, rotate, revoke',
  async run(args, env) {
    const [word, ...rest] = args
    if (word === '--help' || word === '-h') {
      stdout.write(HELP)
      return 0
    }
    const action = ACTIONS.get(word ?? '')
    if (action) return action.run(rest, env)
    if (word === undefined) {
      return failed(
        'an action is missing\n    postern key add NAME makes a key; postern help key shows the rest',
        EXIT.usage,
        'key',
      )
    }
    const near = nearest(word.toLowerCase(), [...ACTIONS.keys(), ...OTHER_ACTIONS.keys()])
    const meant = near && `did you mean: postern key ${OTHER_ACTIONS.get(near) ?? near}?`
    // Not the word itself: it may be a key.
    return failed(
      `no such action\n    ${meant ?? 'postern help key shows them'}`,
      EXIT.usage,
      'key',
    )
  },
}
