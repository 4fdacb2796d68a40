// The first content word of the reference, or one of its forms: "Return" is met by "returns".
const STOP = new Set(['a', 'an', 'the', 'this', 'that', 'it', 'if', 'is', 'by', 'of', 'to', 'for', 'in', 'on', 'and', 'or', 'with', 'from', 'same', 'as', 'called', 'true', 'false', 'return', 'returns']);

const stem = (word) => word.replace(/(ings?|ies|ed|es|s|e|y)$/, '');

module.exports = (output, { vars }) => {
  const wanted = vars.reference.toLowerCase().match(/[a-z]{3,}/g)?.filter((word) => !STOP.has(word)) ?? [];
  if (wanted.length === 0) return { pass: true, score: 1, reason: 'the reference requires no term' };
  const said = new Set((output.toLowerCase().match(/[a-z]{3,}/g) ?? []).map(stem));
  const met = wanted.filter((word) => said.has(stem(word)));
  const pass = met.length > 0;
  return { pass, score: pass ? 1 : 0, reason: pass ? `it has ${met.join(', ')}` : `it has none of: ${wanted.join(', ')}` };
};
