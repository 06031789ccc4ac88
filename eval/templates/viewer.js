// Shows one embedded mesh at a time in the dialog: drag or arrow keys to turn, wheel, pinch, + or - to come closer.
"use strict";
(() => {
  const dialog = document.getElementById("viewer");
  const canvas = dialog.querySelector("canvas");
  const note = dialog.querySelector("[data-note]");
  const VERTEX = `#version 300 es
    in vec3 position; in vec3 color; in vec3 normal;
    uniform mat4 view; uniform mat3 turn;
    out vec3 tint; out vec3 facing;
    void main() { tint = color; facing = turn * normal; gl_Position = view * vec4(position, 1.0); }`;
  // Two-sided, and mostly ambient, as the pictures that were scored.
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 tint; in vec3 facing; out vec4 result;
    void main() {
      vec3 n = normalize(facing); if (!gl_FrontFacing) n = -n;
      float light = 0.62 + 0.38 * max(dot(n, normalize(vec3(-0.4, 0.7, 0.8))), 0.0);
      result = vec4(tint * light, 1.0);
    }`;
  let gl = null, program = null, count = 0, yaw = 0, pitch = 0.26, distance = 3.1, frame = 0;

  function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const [vertices, faces] = new Uint32Array(bytes.buffer, 0, 2);
    const positions = new Int16Array(bytes.buffer, 8, vertices * 3);
    const start = 8 + Math.ceil((vertices * 6) / 4) * 4;
    const colors = new Uint8Array(bytes.buffer, start, vertices * 4);
    const indices = new Uint32Array(bytes.buffer, start + vertices * 4, faces * 3);
    return { positions, colors, indices, normals: normals(positions, indices) };
  }

  // Area-weighted; a place that several vertices share gets one normal, so that colour seams do not show.
  function normals(positions, indices) {
    const places = new Map(), place = new Uint32Array(positions.length / 3);
    for (let v = 0; v < place.length; v++) {
      const key = `${positions[3 * v]},${positions[3 * v + 1]},${positions[3 * v + 2]}`;
      if (!places.has(key)) places.set(key, v);
      place[v] = places.get(key);
    }
    const sums = new Float32Array(positions.length);
    for (let i = 0; i < indices.length; i += 3) {
      const [a, b, c] = [indices[i], indices[i + 1], indices[i + 2]].map((v) => 3 * v);
      const e = [0, 1, 2].map((k) => (positions[b + k] - positions[a + k]) / 32767);
      const f = [0, 1, 2].map((k) => (positions[c + k] - positions[a + k]) / 32767);
      const n = [e[1] * f[2] - e[2] * f[1], e[2] * f[0] - e[0] * f[2], e[0] * f[1] - e[1] * f[0]];
      for (const v of [a, b, c]) for (let k = 0; k < 3; k++) sums[3 * place[v / 3] + k] += n[k];
    }
    return sums.map((_, i) => sums[3 * place[Math.floor(i / 3)] + (i % 3)]);
  }

  function start() {
    gl = canvas.getContext("webgl2", { antialias: true, alpha: true });
    if (!gl) return false;
    program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    return gl.getProgramParameter(program, gl.LINK_STATUS);
  }

  function load(mesh) {
    const put = (name, data, size, type) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      const at = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, type, type !== gl.FLOAT, size, 0);
    };
    gl.bindVertexArray(gl.createVertexArray());
    put("position", mesh.positions, 6, gl.SHORT);
    put("color", mesh.colors, 4, gl.UNSIGNED_BYTE);
    put("normal", mesh.normals, 12, gl.FLOAT);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.indices, gl.STATIC_DRAW);
    count = mesh.indices.length;
  }

  function draw() {
    frame = 0;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const r = [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]; // columns
    const [near, far, f] = [0.1, 20, 1 / Math.tan(0.35)];
    const [a, b, aspect] = [(far + near) / (near - far), (2 * far * near) / (near - far), width / height];
    const column = (i) => [(f / aspect) * r[i], f * r[i + 1], a * r[i + 2], -r[i + 2]];
    const view = [...column(0), ...column(3), ...column(6), 0, 0, -a * distance + b, distance];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(gl.getUniformLocation(program, "view"), false, view);
    gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false, r);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
    dialog.dataset.drawn = count;
  }

  const redraw = () => { if (gl && !frame) frame = requestAnimationFrame(draw); };
  const turn = (x, y) => { yaw += x; pitch = Math.max(-1.5, Math.min(1.5, pitch + y)); redraw(); };
  const zoom = (factor) => { distance = Math.max(1.3, Math.min(9, distance * factor)); redraw(); };

  for (const button of document.querySelectorAll("button.turn")) {
    button.addEventListener("click", () => {
      dialog.querySelector("b").textContent = button.dataset.name;
      dialog.showModal();
      if (!gl && !start()) { gl = null; note.textContent = "This browser shows no WebGL 2."; return; }
      load(unpack(document.getElementById(button.dataset.mesh).textContent.trim()));
      [yaw, pitch, distance] = [-0.5, 0.26, 3.1];
      redraw();
    });
  }
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    if (step) { turn(...step); event.preventDefault(); }
    if (event.key === "+") zoom(0.9);
    if (event.key === "-") zoom(1.1);
  });
  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const was = fingers.get(event.pointerId);
    if (!was) return;
    const now = [event.clientX, event.clientY];
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    if (other) zoom(apart(was) / apart(now));
    else turn((now[0] - was[0]) * 0.01, (now[1] - was[1]) * 0.01);
    fingers.set(event.pointerId, now);
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (e) => fingers.delete(e.pointerId));
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(event.deltaY * 0.001)); }, { passive: false });
  window.addEventListener("resize", redraw);
})();
