import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./components/App";
import { SessionContext } from "./components/session";
import { Session } from "./session";
import "./styles/base.css";
import "./styles/ask.css";
import "./styles/list.css";
import "./styles/watch.css";
import "./styles/event.css";
import "./styles/dialog.css";

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no #root");

const session = new Session();
session.begin();

createRoot(root).render(
  <StrictMode>
    <SessionContext value={session}>
      <App />
    </SessionContext>
  </StrictMode>,
);
