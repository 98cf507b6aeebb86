/** The telephone page, at /client/. */

import { mountTelephone } from "./telephone_view.js";

mountTelephone(document.getElementById("phone"), document.getElementById("transcript"));
