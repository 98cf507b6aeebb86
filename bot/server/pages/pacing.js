/** Rate limits for redrawing and polling. */

/** Return a function that calls `act` after `ms`, once for all its calls until then. */
export function paced(act, ms) {
  let waiting = 0;
  return () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      act();
    }, ms);
  };
}

/** Call `act` every `ms` while the page is visible, but not while the last call is still running. */
export function every(ms, act) {
  let acting = false; // otherwise requests to a suspended process would pile up
  setInterval(async () => {
    if (document.hidden || acting) return;
    acting = true;
    try {
      await act();
    } finally {
      acting = false;
    }
  }, ms);
}
