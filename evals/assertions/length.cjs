// One short answer: at most 30 words.
module.exports = (output) => {
  const words = output.trim().split(/\s+/).length;
  return { pass: words <= 30, score: words <= 30 ? 1 : 0, reason: `${words} words, at most 30 are wanted` };
};
