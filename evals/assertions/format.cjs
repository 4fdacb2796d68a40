// Plain prose that ends: no code block, heading or list, and a full stop at the end.
module.exports = (output) => {
  const text = output.trim();
  const fault = [
    [/```/, 'a code block'],
    [/^\s*#+ /m, 'a heading'],
    [/^\s*([-*]|\d+\.) /m, 'a list'],
  ].find(([pattern]) => pattern.test(text));
  const reason = fault ? `it has ${fault[1]}` : /[.!?]["'`)]?$/.test(text) ? '' : 'it does not end with a full stop';
  return { pass: !reason, score: reason ? 0 : 1, reason: reason || 'plain prose that ends' };
};
