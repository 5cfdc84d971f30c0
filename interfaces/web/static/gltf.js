// Reads the GLB that a mesh run writes: one skinned surface, its skeleton, one animation. Vectors and matrices are column by
// column, as WebGL takes them.
(() => {
  const ARRAYS = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
  const WIDTHS = { SCALAR: 1, VEC3: 3, VEC4: 4, MAT4: 16 };

  /** a times b. */
  const multiply = (a, b, out = new Float32Array(16)) => {
    for (let c = 0; c < 16; c += 4)
      for (let r = 0; r < 4; r++) out[c + r] = a[r] * b[c] + a[4 + r] * b[c + 1] + a[8 + r] * b[c + 2] + a[12 + r] * b[c + 3];
    return out;
  };

  const compose = ([x, y, z], [qx, qy, qz, qw], [sx, sy, sz], out) => {
    out[0] = (1 - 2 * (qy * qy + qz * qz)) * sx, out[1] = 2 * (qx * qy + qw * qz) * sx, out[2] = 2 * (qx * qz - qw * qy) * sx;
    out[4] = 2 * (qx * qy - qw * qz) * sy, out[5] = (1 - 2 * (qx * qx + qz * qz)) * sy, out[6] = 2 * (qy * qz + qw * qx) * sy;
    out[8] = 2 * (qx * qz + qw * qy) * sz, out[9] = 2 * (qy * qz - qw * qx) * sz, out[10] = (1 - 2 * (qx * qx + qy * qy)) * sz;
    out[12] = x, out[13] = y, out[14] = z, out[15] = 1;
    return out;
  };

  /** Document and binary part of a file. */
  const unpack = (buffer) => {
    const words = new DataView(buffer);
    if (buffer.byteLength < 20 || words.getUint32(0, true) !== 0x46546c67) throw new Error("The file is no GLB.");
    const length = words.getUint32(12, true);
    const document = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, length)));
    return { document, start: 20 + length + 8 };
  };

  /** The body in a GLB: arrays for drawing, and `pose(seconds)`, which moves its bones. */
  understudy.readBody = (buffer) => {
    const { document, start } = unpack(buffer);
    const array = (index) => {
      const { bufferView, componentType, count, type } = document.accessors[index];
      const kind = ARRAYS[componentType];
      return new kind(buffer, start + (document.bufferViews[bufferView].byteOffset || 0), count * WIDTHS[type]);
    };
    const { attributes, indices, material } = document.meshes[0].primitives[0];
    // Weights come heaviest first: what two sets do not hold is next to nothing.
    const sets = [0, 1].map((n) => [attributes[`JOINTS_${n}`], attributes[`WEIGHTS_${n}`]].map((a) => (a === undefined ? null : array(a))));
    const { joints, inverseBindMatrices } = document.skins[0];
    const inverse = array(inverseBindMatrices);
    const { channels, samplers } = document.animations[0];
    const times = array(samplers[0].input);
    const extras = document.scenes[0].extras || {};

    const nodes = document.nodes.map(({ translation = [0, 0, 0], rotation = [0, 0, 0, 1], scale = [1, 1, 1] }) => ({
      translation: [...translation], rotation: [...rotation], scale, local: new Float32Array(16), world: new Float32Array(16), parent: -1,
    }));
    document.nodes.forEach(({ children = [] }, index) => children.forEach((child) => (nodes[child].parent = index)));
    const order = [];
    const descend = (index) => (order.push(nodes[index]), (document.nodes[index].children || []).forEach(descend));
    document.scenes[0].nodes.forEach(descend);
    const tracks = channels.map(({ sampler, target }) => ({
      values: array(samplers[sampler].output), node: nodes[target.node], path: target.path, width: target.path === "rotation" ? 4 : 3,
    }));

    const bones = new Float32Array(16 * joints.length);
    const pose = (seconds) => {
      let next = times.findIndex((time) => time > seconds);
      if (next < 0) next = times.length - 1;
      const last = Math.max(next - 1, 0);
      const span = times[next] - times[last];
      const part = span > 0 ? Math.min(Math.max((seconds - times[last]) / span, 0), 1) : 0;
      for (const { values, node, path, width } of tracks) {
        const into = node[path];
        for (let i = 0; i < width; i++) into[i] = values[last * width + i] * (1 - part) + values[next * width + i] * part;
        if (width === 4) {
          const length = Math.hypot(...into);
          for (let i = 0; i < 4; i++) into[i] /= length;
        }
      }
      for (const node of order) {
        compose(node.translation, node.rotation, node.scale, node.local);
        if (node.parent < 0) node.world.set(node.local);
        else multiply(nodes[node.parent].world, node.local, node.world);
      }
      joints.forEach((joint, i) => multiply(nodes[joint].world, inverse.subarray(16 * i, 16 * i + 16), bones.subarray(16 * i, 16 * i + 16)));
      return bones;
    };

    const place = nodes[document.skins[0].skeleton ?? joints[0]].world;
    const positions = array(attributes.POSITION);
    const { min, max } = document.accessors[attributes.POSITION];
    const [numerator, denominator = 1] = String(extras.frame_rate || 30).split("/").map(Number);
    return {
      positions, normals: array(attributes.NORMAL), sets, indices: array(indices), bones, pose, times,
      colour: document.materials?.[material]?.pbrMetallicRoughness?.baseColorFactor || [0.6, 0.6, 0.6, 1],
      height: Math.max(max[0] - min[0], max[1] - min[1]) * nodes[document.skins[0].skeleton ?? joints[0]].scale[1],
      rate: numerator / denominator,
      /** Against gravity, where the file tells. */
      up: extras.up || null,
      frames: extras.frames || times.length,
      /** Where the hips are after the last `pose`. */
      hips: () => [place[12], place[13], place[14]],
      /** A vertex where the last `pose` put it. */
      vertex: (index) => {
        const [x, y, z] = positions.subarray(3 * index, 3 * index + 3);
        const moved = [0, 0, 0];
        let whole = 0;
        for (const [own, weights] of sets) {
          for (let k = 4 * index; own && k < 4 * index + 4; k++) {
            const weight = weights[k], b = 16 * own[k];
            if (!weight) continue;
            whole += weight;
            for (let r = 0; r < 3; r++) moved[r] += weight * (bones[b + r] * x + bones[b + 4 + r] * y + bones[b + 8 + r] * z + bones[b + 12 + r]);
          }
        }
        return moved.map((value) => value / whole);
      },
    };
  };
  understudy.multiply = multiply;
})();
