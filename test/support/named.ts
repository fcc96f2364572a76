// Names of generated tests: short whatever the value, so that a report stays readable.

const MAX_SHOWN = 60

/** A value as JSON, cut to a length that fits on a line. */
export function label(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${text.length} characters)` : text
}

/** Rows for `test.each(…)('%s', …)`: each row has its name in front. */
export function named<Row extends readonly unknown[]>(
  rows: readonly Row[],
  nameOf: (...row: Row) => string,
): [string, ...Row][] {
  return rows.map((row) => [nameOf(...row), ...row])
}

/** The same for single values. */
export function namedValues<Value>(
  values: readonly Value[],
  nameOf: (value: Value) => string = label,
): [string, Value][] {
  return values.map((value) => [nameOf(value), value])
}
