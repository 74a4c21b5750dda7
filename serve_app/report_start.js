// The start of report.html: its data lies in the page.
"use strict";
(() => {
  const data = JSON.parse(Reelscope.byId("data").textContent);
  Reelscope.startClock(data);
  Reelscope.showReport(data).catch((error) => Reelscope.trouble(error.message));
})();
