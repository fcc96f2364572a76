// The schema as a tree to walk: TypeBox's objects are JSON Schema plus our own members.

import type { Key } from '../table.ts'
import type { Leaf } from './leaf.ts'
import { DOCUMENT } from './schema.ts'

export interface Schema extends Partial<Leaf> {
  readonly type?: string
  readonly description?: string
  readonly const?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly pattern?: string
  readonly maxLength?: number
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Schema[]
}

export const ROOT = DOCUMENT as unknown as Schema

/** The schema for one kind, in a list whose entries differ by their `kind`. */
export function entryOf(items: Schema, kind: string | undefined): Schema | undefined {
  if (items.anyOf === undefined) return items
  return items.anyOf.find(({ properties }) => properties?.['kind']?.const === kind)
}

/** Every setting under this part. */
export function settingsIn(schema: Schema): readonly Key[] {
  if (schema.setting !== undefined) return [schema.setting]
  const under = [
    ...Object.values(schema.properties ?? {}),
    ...(schema.items ? [schema.items] : []),
    ...(schema.anyOf ?? []),
  ]
  return [...new Set(under.flatMap(settingsIn))]
}

/** The path of a setting: member names, `[]` for an entry, `[tinfoil]` for an entry of that kind. */
export type Path = readonly string[]

function pathsUnder(schema: Schema, path: Path): readonly (readonly [Key, Path])[] {
  if (schema.setting !== undefined) {
    return schema.secretFile ? [] : [[schema.setting, path]]
  }
  if (schema.items) {
    return (schema.items.anyOf ?? [schema.items]).flatMap((entry) =>
      pathsUnder(entry, [...path, `[${entry.properties?.['kind']?.const ?? ''}]`]),
    )
  }
  return Object.entries(schema.properties ?? {}).flatMap(([name, member]) =>
    pathsUnder(member, [...path, name]),
  )
}

export const PATHS: ReadonlyMap<Key, Path> = new Map(pathsUnder(ROOT, []))

export function memberOf(key: Key): string | undefined {
  return PATHS.get(key)?.join('.').replaceAll('.[', '[')
}
