// The groups of remembered tokens. Many users share a few groups, so each name is stored once, and so
// is each list.

const MAX_LISTS = 5000
const MAX_NAMES = 50_000
const NONE: readonly string[] = []

export function keptGroups(): (groups: readonly string[]) => readonly string[] {
  const lists = new Map<string, readonly string[]>()
  const names = new Map<string, string>()
  const kept = (name: string): string => {
    const before = names.get(name)
    if (before === undefined) names.set(name, name)
    return before ?? name
  }
  return (groups) => {
    if (groups.length === 0) return NONE
    const key = Bun.SHA256.hash(JSON.stringify(groups), 'base64')
    const before = lists.get(key)
    if (before) return before
    if (lists.size >= MAX_LISTS || names.size >= MAX_NAMES) {
      lists.clear()
      names.clear()
    }
    const list = Object.freeze(groups.map(kept))
    lists.set(key, list)
    return list
  }
}
