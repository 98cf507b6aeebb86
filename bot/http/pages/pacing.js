/** Doing something a few times a second at most, however often it is asked for. */

/** Return a function that has `act` called soon, and once for all that ask until then. */
export function paced(act, ms) {
  let waiting = 0;
  return () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      act();
    }, ms);
  };
}

/** Call `act` again and again while the page is seen. */
export function every(ms, act) {
  setInterval(() => document.hidden || act(), ms);
}
