// The body in 3D: plays, is turned with the pointer or the arrow keys, stands on its ground. Drawn with WebGL 2, from the GLB of
// the run.
(() => {
  const { el, multiply } = window.understudy;
  const FIELD = (28 * Math.PI) / 180;
  const LIGHT = [0.35, 1, 0.55];
  const FIRST = { yaw: 0.5, pitch: 0.14, zoom: 1 };

  const BODY = `#version 300 es
    in vec3 position; in vec3 normal; in uvec4 joints0; in vec4 weights0; in uvec4 joints1; in vec4 weights1;
    uniform sampler2D bones; uniform mat4 flatten; uniform mat4 seen;
    out vec3 facing; out vec3 place;
    mat4 bone(uint i) {
      int c = 4 * int(i);
      return mat4(texelFetch(bones, ivec2(c, 0), 0), texelFetch(bones, ivec2(c + 1, 0), 0), texelFetch(bones, ivec2(c + 2, 0), 0), texelFetch(bones, ivec2(c + 3, 0), 0));
    }
    void main() {
      mat4 m = weights0.x * bone(joints0.x) + weights0.y * bone(joints0.y) + weights0.z * bone(joints0.z) + weights0.w * bone(joints0.w)
        + weights1.x * bone(joints1.x) + weights1.y * bone(joints1.y) + weights1.z * bone(joints1.z) + weights1.w * bone(joints1.w);
      vec4 moved = m * vec4(position, 1.0);
      place = moved.xyz / moved.w;
      facing = mat3(m) * normal;
      gl_Position = seen * (flatten * vec4(place, 1.0));
    }`;
  const SKIN = `#version 300 es
    precision highp float;
    in vec3 facing; in vec3 place;
    uniform vec3 colour; uniform vec3 light; uniform vec3 up; uniform vec3 eye; uniform float shadow;
    out vec4 pixel;
    void main() {
      if (shadow > 0.0) { pixel = vec4(0.0, 0.0, 0.0, shadow); return; }
      vec3 n = normalize(facing), v = normalize(eye - place);
      float sky = 0.5 + 0.5 * dot(n, up), key = max(dot(n, light), 0.0), head = max(dot(n, v), 0.0);
      float rim = pow(1.0 - head, 4.0) * sky, shine = pow(max(dot(n, normalize(light + v)), 0.0), 24.0);
      vec3 lit = colour * (mix(vec3(0.20, 0.18, 0.17), vec3(0.46, 0.50, 0.55), sky) + 0.75 * key + 0.22 * head) + vec3(0.10 * rim + 0.07 * shine);
      pixel = vec4(pow(lit, vec3(1.0 / 2.2)), 1.0);
    }`;
  const GROUND = `#version 300 es
    in vec2 corner; uniform vec3 middle; uniform vec3 across; uniform vec3 along; uniform mat4 seen; uniform vec2 offset; uniform float reach;
    out vec2 place; out vec2 away;
    void main() {
      away = corner; place = corner * reach + offset;
      gl_Position = seen * vec4(middle + reach * (corner.x * across + corner.y * along), 1.0);
    }`;
  const LINES = `#version 300 es
    precision highp float;
    in vec2 place; in vec2 away; out vec4 pixel;
    float lines(float step) { vec2 p = place / step, d = abs(fract(p - 0.5) - 0.5) / fwidth(p); return 1.0 - min(min(d.x, d.y), 1.0); }
    void main() {
      float fade = pow(max(1.0 - length(away), 0.0), 1.5), strength = max(0.55 * lines(1.0), 0.22 * lines(0.25));
      pixel = vec4(vec3(0.5), (0.10 + strength) * fade);
    }`;

  // -- vectors -------------------------------------------------------------------------------------------------------

  const add = (a, b, times = 1) => a.map((value, i) => value + times * b[i]);
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const unit = (a) => a.map((value) => value / (Math.hypot(...a) || 1));

  const looking = (eye, target, up) => {
    const back = unit(add(eye, target, -1)), right = unit(cross(up, back)), over = cross(back, right);
    return new Float32Array([right[0], over[0], back[0], 0, right[1], over[1], back[1], 0, right[2], over[2], back[2], 0, -dot(right, eye), -dot(over, eye), -dot(back, eye), 1]);
  };

  const perspective = (aspect, near, far) => {
    // Narrow pictures keep the body's width in view.
    const f = 1 / Math.tan(FIELD / 2) * Math.min(1, aspect / 0.8);
    return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]);
  };

  /** Every point along the light onto the ground. */
  const flattening = (up, height, light) => {
    const share = 1 / dot(up, light), m = new Float32Array(16);
    for (let c = 0; c < 3; c++) for (let r = 0; r < 3; r++) m[4 * c + r] = (r === c) - share * light[r] * up[c];
    for (let r = 0; r < 3; r++) m[12 + r] = share * light[r] * height;
    m[15] = 1;
    return m;
  };

  // -- the scene -----------------------------------------------------------------------------------------------------

  /** The ground: through the body's lowest points over the clip, and level unless somebody who walks about says otherwise. The camera
   * may have been tilted, and the file has the camera's axes. */
  const findGround = (body) => {
    const count = Math.min(48, body.times.length), step = Math.ceil(body.positions.length / 3 / 2500);
    const frames = Array.from({ length: count }, (_, i) => {
      body.pose(body.times[Math.floor((i * (body.times.length - 1)) / Math.max(count - 1, 1))]);
      return Array.from({ length: Math.floor(body.positions.length / 3 / step) }, (_, v) => body.vertex(v * step));
    });
    let up = body.up || [0, 1, 0], height = 0;
    for (let round = 0; round < 4; round++) {
      const lowest = frames.map((points) => points.reduce((a, b) => (dot(b, up) < dot(a, up) ? b : a)));
      const heights = lowest.map((point) => dot(point, up)).sort((a, b) => a - b);
      height = heights[Math.floor(0.25 * heights.length)];
      // Of somebody in the air nothing is learnt.
      if (body.up) break;
      const standing = lowest.filter((point) => dot(point, up) < height + (round ? 0.08 : 0.4));
      const middle = standing.reduce((sum, point) => add(sum, point), [0, 0, 0]).map((value) => value / standing.length);
      let xx = 0.15 * standing.length, zz = xx, xz = 0, xy = 0, zy = 0;
      for (const point of standing) {
        const [x, y, z] = add(point, middle, -1);
        xx += x * x, zz += z * z, xz += x * z, xy += x * y, zy += z * y;
      }
      const det = xx * zz - xz * xz;
      up = unit([-(xy * zz - zy * xz) / det, 1, -(zy * xx - xy * xz) / det]);
      height = dot(middle, up);
    }
    return { up, height };
  };

  /** Where the view looks at: the hips, steadied over a second. */
  const steadyPath = (body) => {
    const hips = Array.from(body.times, (time) => (body.pose(time), body.hips()));
    const half = Math.round(body.rate / 2);
    const sums = [[0, 0, 0]];
    for (const point of hips) sums.push(add(sums.at(-1), point));
    const path = hips.map((_, i) => {
      const first = Math.max(0, i - half), last = Math.min(hips.length, i + half + 1);
      return add(sums[last], sums[first], -1).map((value) => value / (last - first));
    });
    return (seconds) => {
      const next = body.times.findIndex((time) => time > seconds);
      return path[next < 0 ? path.length - 1 : Math.max(next - 1, 0)];
    };
  };

  class Scene {
    constructor(canvas, body) {
      const gl = canvas.getContext("webgl2", { antialias: true, stencil: true, premultipliedAlpha: false, preserveDrawingBuffer: true });
      if (!gl) throw new Error("This browser draws no 3D: WebGL 2 is off. The turntable video and the GLB show the same.");
      Object.assign(this, { gl, canvas, body, ...findGround(body), path: steadyPath(body), view: { ...FIRST } });
      this.light = unit(add(add(this.up.map((v) => v * LIGHT[1]), [1, 0, 0], LIGHT[0]), [0, 0, 1], LIGHT[2]));
      this.skin = this.program(BODY, SKIN);
      this.ground = this.program(GROUND, LINES);
      this.loadBody();
      this.loadGround();
    }

    program(vertex, fragment) {
      const { gl } = this, program = gl.createProgram();
      for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
      return { program, place: (name) => gl.getUniformLocation(program, name), input: (name) => gl.getAttribLocation(program, name) };
    }

    fill(target, data) {
      this.gl.bindBuffer(target, this.gl.createBuffer());
      this.gl.bufferData(target, data, this.gl.STATIC_DRAW);
    }

    loadBody() {
      const { gl, body, skin } = this;
      this.surface = gl.createVertexArray();
      gl.bindVertexArray(this.surface);
      const floats = (name, data, width) => {
        this.fill(gl.ARRAY_BUFFER, data);
        gl.enableVertexAttribArray(skin.input(name));
        gl.vertexAttribPointer(skin.input(name), width, gl.FLOAT, false, 0, 0);
      };
      floats("position", body.positions, 3);
      floats("normal", body.normals, 3);
      body.sets.forEach(([joints, weights], n) => {
        // A second set that is not there stays at the inputs' zeros.
        if (!joints) return gl.vertexAttrib4f(skin.input(`weights${n}`), 0, 0, 0, 0);
        floats(`weights${n}`, weights, 4);
        this.fill(gl.ARRAY_BUFFER, joints);
        gl.enableVertexAttribArray(skin.input(`joints${n}`));
        gl.vertexAttribIPointer(skin.input(`joints${n}`), 4, joints.BYTES_PER_ELEMENT === 1 ? gl.UNSIGNED_BYTE : gl.UNSIGNED_SHORT, 0, 0);
      });
      this.fill(gl.ELEMENT_ARRAY_BUFFER, body.indices);
      this.corner = { 1: gl.UNSIGNED_BYTE, 2: gl.UNSIGNED_SHORT, 4: gl.UNSIGNED_INT }[body.indices.BYTES_PER_ELEMENT];
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    }

    loadGround() {
      const { gl, ground } = this;
      this.floor = gl.createVertexArray();
      gl.bindVertexArray(this.floor);
      this.fill(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]));
      gl.enableVertexAttribArray(ground.input("corner"));
      gl.vertexAttribPointer(ground.input("corner"), 2, gl.FLOAT, false, 0, 0);
    }

    draw(seconds) {
      const { gl, canvas, body, up, height, view } = this;
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      const [width, tall] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
      if (canvas.width !== width || canvas.height !== tall) Object.assign(canvas, { width, height: tall });
      gl.viewport(0, 0, width, tall);
      const bones = body.pose(seconds), target = this.path(seconds), away = (1.45 * body.height) / (2 * Math.tan(FIELD / 2)) / view.zoom;
      const across = unit(cross(up, [0, 0, 1])), along = cross(across, up);
      const level = add(across.map((v) => v * Math.sin(view.yaw)), along, Math.cos(view.yaw));
      const eye = add(target, add(level.map((v) => v * Math.cos(view.pitch)), up, Math.sin(view.pitch)), away);
      const seen = multiply(perspective(width / tall, away / 50, away * 20), looking(eye, target, up));
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
      this.drawGround(seen, target, across, along);
      gl.useProgram(this.skin.program);
      gl.bindVertexArray(this.surface);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, bones.length / 4, 1, 0, gl.RGBA, gl.FLOAT, bones);
      const { place } = this.skin;
      gl.uniformMatrix4fv(place("seen"), false, seen);
      for (const [name, value] of Object.entries({ colour: body.colour.slice(0, 3), light: this.light, up, eye })) gl.uniform3fv(place(name), value);
      // The shadow darkens each place once, however many sheets of skin lie over it.
      gl.enable(gl.STENCIL_TEST);
      gl.stencilFunc(gl.EQUAL, 0, 255);
      gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
      this.drawBody(flattening(up, height, this.light), 0.28);
      gl.disable(gl.STENCIL_TEST);
      gl.disable(gl.BLEND);
      gl.enable(gl.DEPTH_TEST);
      this.drawBody(new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), 0);
    }

    drawGround(seen, target, across, along) {
      const { gl, ground, up, height, body } = this;
      const below = add(target, up, height - dot(target, up));
      gl.disable(gl.DEPTH_TEST);
      gl.enable(gl.BLEND);
      gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.useProgram(ground.program);
      gl.bindVertexArray(this.floor);
      gl.uniformMatrix4fv(ground.place("seen"), false, seen);
      for (const [name, value] of Object.entries({ middle: below, across, along })) gl.uniform3fv(ground.place(name), value);
      gl.uniform2f(ground.place("offset"), dot(below, across), dot(below, along));
      gl.uniform1f(ground.place("reach"), 2.2 * body.height);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }

    drawBody(flatten, shadow) {
      const { gl, skin } = this;
      gl.uniformMatrix4fv(skin.place("flatten"), false, flatten);
      gl.uniform1f(skin.place("shadow"), shadow);
      gl.drawElements(gl.TRIANGLES, this.body.indices.length, this.corner, 0);
    }

    turn(yaw, pitch) {
      this.view.yaw += yaw;
      this.view.pitch = Math.min(Math.max(this.view.pitch + pitch, -0.05), 1.5);
    }

    zoom(factor) {
      this.view.zoom = Math.min(Math.max(this.view.zoom * factor, 0.3), 8);
    }

    close() {
      this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    }
  }

  // -- pointer and keys ----------------------------------------------------------------------------------------------

  const handle = (canvas, scene, changed) => {
    const down = new Map();
    const spread = () => {
      const [a, b] = [...down.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      down.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = down.get(event.pointerId);
      if (!before) return;
      const apart = down.size === 2 ? spread() : 0;
      down.set(event.pointerId, [event.clientX, event.clientY]);
      if (apart) scene.zoom(spread() / apart);
      else scene.turn(-0.009 * (event.clientX - before[0]), 0.009 * (event.clientY - before[1]));
      changed();
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => down.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => (event.preventDefault(), scene.zoom(Math.exp(-0.0012 * event.deltaY)), changed()), { passive: false });
    const keys = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, 0.08], ArrowDown: [0, -0.08] };
    canvas.addEventListener("keydown", (event) => {
      if (keys[event.key]) scene.turn(...keys[event.key]);
      else if (event.key === "+" || event.key === "-") scene.zoom(event.key === "+" ? 1.15 : 1 / 1.15);
      else return;
      event.preventDefault();
      changed();
    });
  };

  /** A player for the GLB at an address. */
  understudy.viewer = (address) => {
    const canvas = el("canvas", { class: "us-3d-canvas", tabindex: 0, role: "img", "aria-label": "The body in 3D. Arrow keys turn it, plus and minus zoom." });
    const play = el("button", { type: "button", class: "us-button small us-play" });
    const slider = el("input", { type: "range", class: "us-range", min: 0, max: 0, value: 0, "aria-label": "Frame of the body" });
    const number = el("output", {});
    const bar = el("div", { class: "us-frames" }, play, slider, number);
    const waiting = el("div", { class: "us-waiting" }, el("span", { class: "us-spinner" }), "Loading the body");
    const root = el("div", { class: "us-3d" }, waiting);
    let scene = null, seconds = 0, playing = false, last = 0, stale = true;

    const first = () => scene.body.times[0];
    const length = () => scene.body.times.at(-1) - first();
    const change = () => (stale = true);
    const reset = () => (Object.assign(scene.view, FIRST), change());
    const setPlaying = (on) => {
      playing = on && length() > 0;
      play.textContent = playing ? "Pause" : "Play";
    };
    const tick = (now) => {
      if (!root.isConnected) return scene.close();
      if (playing) {
        seconds += Math.min(now - last, 100) / 1000;
        // The last frame stays as long as any other.
        if (seconds > first() + length() + 1 / scene.body.rate) seconds = first();
      }
      last = now;
      if ((playing || stale) && canvas.clientWidth) {
        stale = false;
        scene.draw(Math.min(seconds, first() + length()));
        const frame = Math.min(Math.floor(seconds * scene.body.rate + 0.01), scene.body.frames - 1);
        if (playing) slider.value = frame;
        number.textContent = `Frame ${frame + 1} of ${scene.body.frames}`;
        root.dataset.frame = frame;
      }
      requestAnimationFrame(tick);
    };
    const start = async () => {
      try {
        const answer = await fetch(address);
        if (!answer.ok) throw new Error(`The server answered ${answer.status} instead of the body.`);
        const body = understudy.readBody(await answer.arrayBuffer());
        if (!root.isConnected) return;
        scene = new Scene(canvas, body);
      } catch (error) {
        root.replaceChildren(understudy.message("error", error.message));
        return;
      }
      seconds = first();
      slider.max = scene.body.frames - 1;
      slider.addEventListener("input", () => (setPlaying(false), (seconds = Number(slider.value) / scene.body.rate), change()));
      play.addEventListener("click", () => setPlaying(!playing));
      bar.hidden = length() === 0;
      handle(canvas, scene, change);
      new ResizeObserver(change).observe(canvas);
      const again = el("button", { type: "button", class: "us-button small", onclick: reset }, "Reset view");
      root.replaceChildren(canvas, bar, el("div", { class: "us-3d-foot" }, el("span", { class: "us-soft us-small" }, "Drag to turn, scroll or pinch to zoom."), again));
      setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
      requestAnimationFrame((now) => ((last = now), tick(now)));
    };
    start();
    return root;
  };
})();
